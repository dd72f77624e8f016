import { botMessages } from '../bot-messages/feature.ts'
import { presence } from '../presence/feature.ts'
import type { MethodsOf, OptionsOf } from '../rooms/chat-feature.ts'

/** The features of chats. To add one, write a folder like theirs and add it to this list. */
export const features = [botMessages, presence] as const

/** The methods that the features add to `ChatEvents`. */
export type FeatureMethods = MethodsOf<typeof features[number]>

/** The options of all features. */
export type FeatureOptions = OptionsOf<typeof features[number]>
