import type { ChatEventHandler } from '../event-types.ts'
import type { OptionTable, ValuesFrom } from '../core/options.ts'
import type { Logger } from '../core/logger.ts'
import type { PubSubProvider } from '../pubsub/provider.ts'
import type { StateStore } from '../pubsub/state-store.ts'
import type { ProjectionFactory } from './state-projection.ts'
import type { EventSink } from './event-sink.ts'

/** A channel for messages of a feature between instances. Some can be missed, such as those that have expired. */
interface ControlMessages<T> {
  /** Calls the listener with each message of any instance. Returns a function that unsubscribes. */
  watch (listener: { message (message: T): unknown }): () => void
  /** Resolves once no later message is missed. Returns `undefined` if that is so already. */
  whenStarted (): Promise<void> | undefined
  /**
   * Passes a message to the listeners of this instance, then publishes it. Rejects as `PubSubProvider.publish` does.
   */
  publish (message: T & object): Promise<void>
  /** Removes all listeners. The next `watch` opens the channel again. */
  close (): void
}

/** The parts and settings that a feature is created with. `Values` are the values of its options. */
export interface FeatureContext<Values = unknown> {
  pubsub: PubSubProvider
  /** The state that the provider keeps beside the log of a chat; `undefined` if it keeps none. */
  state: StateStore | undefined
  instanceId: string
  log: Logger
  /** The most bytes of JSON that one event may take. */
  maxPayloadBytes: number
  options: Values
  /** Follows a chat, as `ChatEvents.onChatEvent` does. */
  onChatEvent (chatId: string, handler: ChatEventHandler): () => void
  /** Passes all events of a chat so far to its streams and handlers on this instance. Never rejects. */
  syncChat (chatId: string): Promise<void>
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
  /** Creates the projections that present the chat's state to the streams of a room. */
  readonly projection?: ProjectionFactory | undefined
  /** Called when a stream is about to join a chat. The stream's `onClose` reports when it leaves. */
  onJoin? (chatId: string, stream: EventSink): void
  /** Called when the access of a user to a chat has ended. */
  onRevoke? (chatId: string, userId: string): void
  /** Called when all streams and handlers of this instance have ended. */
  onCleanup? (): void
  /**
   * Called when the app begins to close. Streams end once it resolves, so it must do so within a limited time: within
   * `ms` milliseconds if it is given, otherwise as the options say.
   */
  drain? (ms?: number): Promise<void>
  /** Called when the app closes, before the rooms close. */
  close? (): void
}

/** A feature as it stands in the list of features. */
export interface FeatureDefinition<Methods extends object = object, Table extends OptionTable = OptionTable> {
  /** What the feature adds to the options of the plugin. */
  readonly options: Table
  /** Creates the feature. Throws if it does not work with this provider. */
  create (context: FeatureContext<ValuesFrom<Table>>): ChatFeature<Methods>
}

type Intersection<Union> =
  (Union extends unknown ? (each: Union) => void : never) extends (all: infer All) => void ? All : never

/** The methods that all features of a union together add to `ChatEvents`. */
export type MethodsOf<Feature extends FeatureDefinition> = Intersection<ReturnType<Feature['create']>['methods']>

/** The option tables of all features of a union, as one table. */
export type TableOf<Feature extends FeatureDefinition> = Intersection<Feature['options']>
