export { default, realtimePlugin } from './plugin.ts'
export type { HistoryOptions, RealtimeOptions } from './options.ts'
export type { AccessGrant, Authorize } from './access.ts'
export type { Metrics } from './metrics.ts'
export type { DeliverTrace, PublishTrace } from './tracing.ts'
export type { MetricsRegistry } from './prometheus.ts'
export { RealtimeError, type RealtimeErrorCode } from './errors.ts'
export type { Logger } from './logger.ts'

// By star, since apps can merge into what is exported this way only.
export * from './chat-event-map.ts'
export { ChatEvents, type ChatEventsOptions } from './chat-events.ts'
export { type ReplySse, type SseEvent, type StreamRequest } from './sse/reply-sse.ts'

export type { Cursor } from './cursor.ts'
export type {
  Envelope, EventLog, Follower, LiveFeed, LogGap, Logged, LogPage, Position, PublishOptions, PublishReceipt, PubSubHandler, PubSubMessage, PubSubProvider, PubSubStats, Replayable
} from './pubsub/provider.ts'
export { LocalPubSub, type LocalPubSubOptions } from './pubsub/local-pubsub.ts'
export { RedisPubSub, type RedisPubSubOptions } from './pubsub/redis-pubsub.ts'
export { getChatChannel } from './pubsub/channel.ts'

export {
  chatEvents, cleanupChatSubscriptions, closePubSub, emitBotAction, emitChatMessage, getChatEvents, getPubSub, offChatEvent,
  onChatEvent, pubsub
} from './standalone.ts'
