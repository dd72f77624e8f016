import { botMessages } from '../bot-messages/feature.ts'
import { presence } from '../presence/feature.ts'
import type { MethodsOf, TableOf } from '../rooms/chat-feature.ts'

/** The features of chats. To add one, write a folder like theirs and add it to this list. */
export const features = [botMessages, presence] as const

type Feature = typeof features[number]

/** The methods that the features add to `ChatEvents`. */
export type FeatureMethods = MethodsOf<Feature>

/** The options of all features. */
export const featureOptions: TableOf<Feature> = Object.assign({}, ...features.map(({ options }) => options))
