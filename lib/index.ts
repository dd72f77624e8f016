export { default, realtimePlugin } from './plugin.ts'
export type { HistoryOptions, ProviderOptions } from './pubsub/provider-options.ts'
export type { RealtimeOptions } from './options.ts'
export type { RelayContext, RelayedOutbox, RunningRelay } from './chat/relayed-outbox.ts'
export type { OutboxStats } from './observability/prometheus.ts'
export type { PublishRouteOptions } from './http/options.ts'
export type { RealtimeRouteOptions } from './http/route-options.ts'
export type { Authorize } from './http/access.ts'
export type { AccessGrant } from './http/grant.ts'
export type { Metrics } from './observability/metrics.ts'
export type { DeliverTrace, PublishTrace } from './observability/tracing.ts'
export type { MetricsRegistry } from './observability/prometheus.ts'
export { RealtimeError, type RealtimeErrorCode } from './errors.ts'
export type { Logger } from './core/logger.ts'

// Exported by `*`, because declaration merging by apps works only this way.
export * from './event-types.ts'
export type { BotMessageWriter, BotMessageEnd } from './bot-messages/writer.ts'
export type { BotMessageStatus } from './bot-messages/fields.ts'
export type {
  BotMessageSource, BotMessageStream, StartBotMessageOptions, StreamBotMessageOptions
} from './bot-messages/writers.ts'
export { ChatEvents, type ChatEventsOptions } from './chat/chat-events.ts'
export type { HistoryEvent, HistoryPage, HistoryQueries, HistoryQuery } from './chat/history-reader.ts'
export type { BotMessageMethods } from './bot-messages/feature.ts'
export type { PresenceMethods, TypingOptions } from './presence/feature.ts'
export type { PresenceOptions } from './presence/options.ts'
export type { ReplySse } from './http/reply-sse.ts'
export type { SseEvent } from './http/sse-event.ts'

export type { Cursor } from './pubsub/cursor.ts'
export type {
  Envelope, EventLog, LogGap, LogEntry, LogPage, LogHead, LogPosition, Replayable
} from './pubsub/event-log.ts'
export type { FeedListener, ChannelFeed } from './pubsub/channel-feed.ts'
export type {
  HealthReport, HealthReporting, PublishOptions, PublishReceipt, PubSubHandler, PubSubMessage, PubSubProvider,
  PubSubStats
} from './pubsub/provider.ts'
export type {
  Draft, DraftPage, Finalization, Field, Piece, StateVersion, StateChange, StateListener, Stateful, StateOperation,
  StateOutcome, StatePage, StateReceipt, StateRequest, StateStore
} from './pubsub/state-store.ts'
export { LocalPubSub, type LocalPubSubOptions } from './pubsub/local/local-pubsub.ts'
export type { RedisClient } from './pubsub/redis/client.ts'
export { RedisPubSub, type RedisPubSubOptions } from './pubsub/redis/redis-pubsub.ts'
export { getChatChannel } from './pubsub/names.ts'

export {
  chatEvents, cleanupChatSubscriptions, closePubSub, emitBotAction, emitChatMessage, emitTyping, getChatEvents,
  getPubSub, offChatEvent, onChatEvent, pubsub, startBotMessage, stopBotMessage, streamBotMessage,
  type ClosePubSubOptions
} from './standalone.ts'
