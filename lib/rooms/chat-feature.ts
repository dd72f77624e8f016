import type { Logger } from '../core/logger.ts'
import type { PubSubProvider } from '../pubsub/provider.ts'
import type { StateStore } from '../pubsub/state-store.ts'
import type { MakeProjection } from './state-projection.ts'
import type { EventSink } from './event-sink.ts'

/** A channel for control messages between instances. Messages can be missed if continuity is lost. */
export interface ControlMessages<T> {
  /** Calls the listener with each message of any instance. Returns a function that unsubscribes. */
  watch (listener: { message (message: T): unknown }): () => void
  /** Resolves once messages published from then on are not missed. Returns `undefined` if that is so already. */
  whenStarted (): Promise<void> | undefined
  /**
   * Passes a message to the listeners of this instance, then publishes it. Rejects as `PubSubProvider.publish` does.
   */
  publish (message: T & object): Promise<void>
  /** Removes all listeners. The next `watch` opens the channel again. */
  close (): void
}

/** The arguments of a feature's factory. */
export interface FeatureContext<Options extends object = object> {
  pubsub: PubSubProvider
  /** The state that the provider keeps beside the log of a chat; `undefined` if it keeps none. */
  state: StateStore | undefined
  instanceId: string
  log: Logger
  /** The options of `ChatEvents`, including those of the feature. */
  options: Options
  /** Creates a control channel for the feature. */
  control<T> (channel: string): ControlMessages<T>
}

/**
 * An addition to chats that is not an event of the log, such as presence. `ChatEvents` and the rooms know features by
 * this interface only.
 */
export interface ChatFeature<Methods extends object = object> {
  /** The methods that the feature adds to `ChatEvents`. */
  readonly methods: Methods
  /** Creates the projection of the chat's state for the streams of a room. */
  readonly projection?: MakeProjection | undefined
  /** Called when a stream is about to join a chat. The stream's `onClose` reports when it leaves. */
  onJoin? (chatId: string, stream: EventSink): void
  /** Called when the access of a user to a chat has ended. */
  onRevoke? (chatId: string, userId: string): void
  /** Called when all streams and handlers of this instance have ended. */
  onCleanup? (): void
  /** Called when the app closes, before the streams end. */
  close? (): void
}

/** Creates a feature. Throws if the feature does not work with this provider. */
export type MakeFeature<Methods extends object = object, Options extends object = object> =
  (context: FeatureContext<Options>) => ChatFeature<Methods>

type Intersection<Union> =
  (Union extends unknown ? (each: Union) => void : never) extends (all: infer All) => void ? All : never

/** The methods that all features together add to `ChatEvents`. */
export type MethodsOf<Make extends MakeFeature<object, never>> =
  Intersection<Make extends MakeFeature<infer Methods, never> ? Methods : never>

/** The options of all features together. */
export type OptionsOf<Make extends MakeFeature<object, never>> =
  Intersection<Make extends (context: FeatureContext<infer Options>) => ChatFeature ? Options : never>
