export { default, realtimePlugin } from './plugin.ts'
export type { HistoryOptions, PresenceOptions, PresenceTimes, ProviderOptions, RealtimeOptions } from './options.ts'
export type { RealtimeRouteOptions } from './routes/route-options.ts'
export type { Authorize } from './access.ts'
export type { AccessGrant } from './grant.ts'
export type { Metrics } from './metrics.ts'
export type { DeliverTrace, PublishTrace } from './tracing.ts'
export type { MetricsRegistry } from './prometheus.ts'
export { RealtimeError, type RealtimeErrorCode } from './errors.ts'
export type { Logger } from './logger.ts'

// By star, since apps can merge into what is exported this way only.
export * from './chat-event-map.ts'
export type { BotAnswer, BotMessageEnd, BotMessageStatus } from './bot-answer.ts'
export type { BotMessageSource, StartBotMessageOptions, StreamBotMessageOptions } from './bot-answers.ts'
export { ChatEvents, type ChatEventsOptions } from './chat-events.ts'
export type { BotMessageMethods, BotMessageOptions } from './bot-messages/feature.ts'
export type { PresenceFeatureOptions, PresenceMethods, TypingOptions } from './presence/feature.ts'
export { type ReplySse, type SseEvent, type StreamRequest } from './sse/reply-sse.ts'

export type { Cursor } from './cursor.ts'
export type {
  Envelope, EventLog, Follower, HealthReport, HealthReporting, LiveFeed, LogGap, Logged, LogPage, LogTop, Position,
  PublishOptions, PublishReceipt, PubSubHandler, PubSubMessage, PubSubProvider, PubSubStats, Replayable
} from './pubsub/provider.ts'
export type { Conclusion, Field, Stamp, StateChange, Stateful, StateOperation, StateOutcome, StatePage, StateReceipt, StateRequest, StateStore } from './pubsub/state-store.ts'
export { LocalPubSub, type LocalPubSubOptions } from './pubsub/local-pubsub.ts'
export type { RedisClient } from './pubsub/redis-client.ts'
export { RedisPubSub, type RedisPubSubOptions } from './pubsub/redis-pubsub.ts'
export { getChatChannel } from './pubsub/channel.ts'

export {
  chatEvents, cleanupChatSubscriptions, closePubSub, emitBotAction, emitChatMessage, emitTyping, getChatEvents, getPubSub, offChatEvent,
  onChatEvent, pubsub, startBotMessage, stopBotMessage, streamBotMessage
} from './standalone.ts'
