/** All errors of this package. A message states the problem and the fix, and never contains a payload or a secret. */
const table = {
  RT_OPTION_INVALID: [500, (what: string) => `${what}.`],
  RT_REGISTERED_TWICE: [500, () =>
    'The plugin is already registered in this context. ' +
    'Register it once, on the root instance or in separate contexts.'],
  RT_REDIS_URL_INVALID: [500, (what: string) =>
    `The Redis URL ${what}. Set redisUrl or REDIS_URL to redis://[user:password@]host[:port][/db] or rediss://…, ` +
    'or leave both unset to run without Redis.'],
  RT_CHAT_ID_INVALID: [400, (what: string) =>
    `A chat id must be a well-formed string of 1 to 1024 bytes, got ${what}.`],
  RT_FORBIDDEN: [403, () => 'Access to this chat was refused.'],
  RT_GRANT_INVALID: [403, (what: string) =>
    `authorize() returned ${what}, so the chat was refused. Return true, false, or a plain object with userId ` +
    '(a well-formed string of 1 to 256 characters), expiresAt (a Date or milliseconds since 1970) or both, ' +
    'and no other field.'],
  RT_USER_ID_INVALID: [400, (what: string) =>
    `A user id must be a well-formed string of 1 to 256 characters, got ${what}.`],
  RT_TOO_MANY_CONNECTIONS: [503, () =>
    'This instance has reached its maximum number of streams. Try again later; ' +
    'operators can raise maxConnections or add instances.'],
  RT_TOO_MANY_PER_CLIENT: [503, () =>
    'This client has reached its maximum number of streams. Close one, or raise maxConnectionsPerClient.'],
  RT_TOO_MANY_PER_SESSION: [503, () =>
    'This HTTP/2 session has reached its maximum number of streams. Close one, or raise maxStreamsPerSession.'],
  RT_TOO_MANY_ROOMS: [503, () =>
    'This instance has reached its maximum number of chats. Try again later; ' +
    'operators can raise maxRooms or add instances.'],
  RT_TOO_MANY_CHATS: [400, (what: string) =>
    `One stream can carry at most ${what}. Open another stream for more, or raise maxChatsPerStream.`],
  RT_CHANNEL_INVALID: [400, (what: string) =>
    `A channel or pattern must be a well-formed string of 1 to 4096 bytes, got ${what}.`],
  RT_PATTERN_SHARDED: [500, () =>
    'The shard channels of a Redis Cluster have no patterns. ' +
    'Use subscribeExact or onChatEvent, or turn off the option sharded.'],
  RT_REWIND_INVALID: [400, (what: string) =>
    'rewind in the query must be a number of events, given once or once for each chat, ' +
    `from 0 to ${what}. Request fewer events, or raise maxRewind.`],
  RT_EVENT_TYPE_INVALID: [400, (what: string) =>
    'The type of an event must match ^[\\w.-]{1,64}$ and must not be ' +
    'ready, reset, refused, error, open, bot_message, presence or typing, ' +
    `which are reserved, got ${what}. Use a type of your own, ` +
    'or use emitTyping, startBotMessage or the option presence.'],
  RT_HANDLER_INVALID: [500, (what: string) => `A handler must be a function, got ${what}.`],
  RT_PAYLOAD_INVALID: [400, (what: string) => `${what}.`],
  RT_PAYLOAD_TOO_LARGE: [413, (what: string) =>
    `The payload takes ${what} bytes. Publish a reference to the content instead, or raise maxPayloadBytes.`],
  RT_PUBLISH_REJECTED: [503, (what: string) =>
    `Nothing was published: ${what}. Publish again once GET /api/health/pubsub says ok.`],
  RT_PUBLISH_UNKNOWN: [503, (what: string) =>
    `It is unknown whether the event was published: ${what}. ` +
    'Publish it again with the same idempotencyKey: it is then applied once.'],
  RT_IDEMPOTENCY_KEY_INVALID: [400, (what: string) =>
    `An idempotency key must be a well-formed string of 1 to 200 characters, got ${what}.`],
  RT_IDEMPOTENCY_KEY_REUSED: [422, () =>
    'Another event was published with this Idempotency-Key. Use a new key for each event.'],
  RT_CONTENT_TYPE_INVALID: [415, () =>
    'The body must be an event as JSON, with the header content-type: application/json.'],
  RT_BOT_MESSAGE_ID_INVALID: [400, (what: string) =>
    'The id of a bot message must be a well-formed string of 1 to 128 characters, ' +
    `and neither "." nor ".." as no URL can carry these, got ${what}.`],
  RT_BOT_MESSAGE_EXISTS: [409, () =>
    'This chat has, or had, a bot message with this id. Give each bot message an id of its own, or none.'],
  RT_BOT_MESSAGE_TOO_LARGE: [413, (what: string) =>
    `The bot message would take ${what} bytes. Finish it, or raise maxBotMessageBytes.`],
  RT_BOT_MESSAGE_EXTRA_TOO_LARGE: [413, (what: string) =>
    `The end of the bot message would take ${what} bytes with its extra. Finish it with a smaller one, or with none: ` +
    'store large data elsewhere, and pass a reference to it.'],
  RT_BOT_MESSAGE_NOT_FOUND: [404, () =>
    'This chat has no such bot message, or its history does not reach back to it any more. Check the id.'],
  RT_POSITION_INVALID: [400, () =>
    'The query parameter `at` must be a whole number: the length of the content that the client has.'],
  RT_BOT_MESSAGE_ENDED: [409, (what: string) =>
    `This bot message is already ${what}. Stop producing it when its signal aborts.`],
  RT_STATE_UNAVAILABLE: [501, () =>
    'This provider keeps no state of chats. ' +
    'Bot messages and presence need the built-in providers, with the option history turned on.'],
  RT_HISTORY_INVALID: [400, (what: string) =>
    `${what}. Pass event ids and numbers as docs/reference.md describes them for history and lastEventId.`],
  RT_HISTORY_UNAVAILABLE: [501, () =>
    'This provider keeps no log of chats. Turn on the option history, or use a provider that is `Replayable`.'],
  RT_LOG_UNAVAILABLE: [503, (what: string) =>
    `The log, or the state of a chat, cannot be read: ${what}. Try again once GET /api/health/pubsub says ok.`],
  RT_CLOSED: [503, (what: string) => `${what} was closed. Publish and subscribe before app.close() or closePubSub().`],
  RT_SSE_FIELD_INVALID: [500, (what: string) => `This cannot be written as an SSE event: ${what}.`],
  RT_STREAM_CLOSED: [499, () =>
    'The client has disconnected, or the stream was closed. Stop sending when reply.sse.signal aborts.'],
  RT_STREAM_STARTED: [500, () =>
    'This reply was already sent, or is already a stream. ' +
    'Open one stream for each reply; reply.sse.send can add events to it.'],
  RT_STREAM_PIPELINED: [400, () =>
    'This request waits behind another one on its connection. Open each event stream on a connection of its own.']
} as const satisfies Record<string, readonly [number, (what: string) => string]>

/** The HTTP status of each code. */
export const errorStatus = Object.fromEntries(Object.entries(table).map(([code, [status]]) => [code, status]))

/** The code of a `RealtimeError`. docs/reference.md lists all codes. */
export type RealtimeErrorCode = keyof typeof table

/** An error of this package, or of a custom provider that follows the `PubSubProvider` contract. */
export class RealtimeError extends Error {
  override readonly name = 'RealtimeError'
  /** Identifies the error. */
  readonly code: RealtimeErrorCode
  /** The HTTP status with which Fastify responds if a route does not catch the error. */
  readonly statusCode: number
  readonly #what: string

  constructor (code: RealtimeErrorCode, what = '') {
    const [statusCode, message] = table[code]
    super(message(what))
    this.code = code
    this.statusCode = statusCode
    this.#what = what
  }

  /** Returns a copy for another operation that failed for the same reason. Each error is logged once. @internal */
  again (): RealtimeError {
    return new RealtimeError(this.code, this.#what)
  }
}

/** Describes an invalid value for an error message by its type, since the value itself may be a secret. */
export function kindOf (value: unknown): string {
  if (value === null) return 'null'
  if (value === '') return 'an empty string'
  return Array.isArray(value) ? 'an array' : typeof value
}
