import { botMessages } from '../bot-messages/feature.ts'
import { presence } from '../presence/feature.ts'
import type { MethodsOf, OptionsOf } from '../rooms/chat-feature.ts'

/** The features of chats. To add one, write a folder like theirs and name it here. */
export const features = [botMessages, presence] as const

/** What they add to `ChatEvents`. */
export type FeatureMethods = MethodsOf<typeof features[number]>

/** Their options. */
export type FeatureOptions = OptionsOf<typeof features[number]>
