import type { Logger } from '../core/logger.ts'
import type { PubSubProvider } from '../pubsub/provider.ts'
import type { StateStore } from '../pubsub/state-store.ts'
import type { MakeProjection } from './state-projection.ts'
import type { EventSink } from './event-sink.ts'

/** A channel by which the instances control each other. Where continuity is lost, messages can be missed. */
export interface ControlMessages<T> {
  /** Calls back with each message of any instance. Returns a function that stops that. */
  watch (listener: { message (message: T): unknown }): () => void
  /** Resolves once nothing that is published from then on is missed; `undefined` where that is so already. */
  whenStarted (): Promise<void> | undefined
  /** Hands a message to the listeners of this instance, then publishes it. Rejects as `PubSubProvider.publish` does. */
  publish (message: T & object): Promise<void>
  /** Stops listening. The next `watch` begins anew. */
  close (): void
}

/** What a feature is made with. */
export interface FeatureContext<Options extends object = object> {
  pubsub: PubSubProvider
  /** The state that the provider keeps beside the log of a chat; `undefined` where it keeps none. */
  state: StateStore | undefined
  instanceId: string
  log: Logger
  /** The options of `ChatEvents`, among them those of the feature. */
  options: Options
  /** A control channel of its own. */
  control<T> (channel: string): ControlMessages<T>
}

/**
 * What can be done in a chat beside events of the log, such as presence. `ChatEvents` and the rooms know features by
 * this interface only.
 */
export interface ChatFeature<Methods extends object = object> {
  /** The methods that it adds to `ChatEvents`. */
  readonly methods: Methods
  /** Makes what the streams of a room see of the state of the chat. */
  readonly projection?: MakeProjection | undefined
  /** Called when a stream is about to join a chat. Its `onClose` says when it leaves. */
  onJoin? (chatId: string, stream: EventSink): void
  /** Called when the access of a user to a chat has ended. */
  onRevoke? (chatId: string, userId: string): void
  /** Called when all streams and handlers of this instance have ended. */
  onCleanup? (): void
  /** Called when the app closes, before the streams end. */
  close? (): void
}

/** Makes a feature. Throws where it can't work with this provider. */
export type MakeFeature<Methods extends object = object, Options extends object = object> =
  (context: FeatureContext<Options>) => ChatFeature<Methods>

type Intersection<Union> = (Union extends unknown ? (each: Union) => void : never) extends (all: infer All) => void ? All : never

/** The methods that features add to `ChatEvents`, all together. */
export type MethodsOf<Make extends MakeFeature<object, never>> =
  Intersection<Make extends MakeFeature<infer Methods, never> ? Methods : never>

/** The options that features have, all together. */
export type OptionsOf<Make extends MakeFeature<object, never>> =
  Intersection<Make extends (context: FeatureContext<infer Options>) => ChatFeature ? Options : never>
