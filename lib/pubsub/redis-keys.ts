import { broaden } from './glob.ts'

/** The names of one channel's log, and of its state. */
export interface ChannelKeys {
  /** Where its events are broadcast. */
  channel: string
  /** What is known of the log and the state. */
  meta: string
  /** The events. */
  stream: string
  /** What an idempotency key of the app's was used for: the key follows. No name of ours stands there, since an app may let clients choose keys. */
  idempotency: string
  /** The event that has concluded a text: the key of the conclusion follows. */
  conclusion: string
  /** What a batch came to: its name follows. */
  batch: string
  /** The fields of the state. */
  fields: string
  /** When their leases run out. */
  leases: string
}

/** Whose keys and channels they are. */
export interface Namespace {
  /** The option `keyPrefix`. */
  keyPrefix: string
  /** The `keyPrefix` of the ioredis client, which it puts before keys, but not before most channels. */
  clientPrefix?: string | undefined
  /** The number of the database. Pub/sub ignores it. */
  database?: number | undefined
}

/**
 * How channels are called in Redis: `rt:{chat:123}`. The braces are the hash tag of Redis Cluster, so that all that
 * belongs to a channel lives in one slot. The name inside is percent-encoded, so that neither a brace nor a
 * character of a glob ever reaches Redis from a chat id.
 *
 * Names of keys begin with `keyPrefix`, since the client puts its own prefix before them. Names of channels are sent and
 * received as they are, so they hold the client's prefix, and the number of a database other than 0: `app:rt:@2{chat:123}`.
 */
export class RedisKeys {
  readonly #prefix: string
  readonly #channelPrefix: string

  constructor ({ keyPrefix, clientPrefix = '', database = 0 }: Namespace) {
    this.#prefix = keyPrefix
    // No `keyPrefix` has an @.
    this.#channelPrefix = `${clientPrefix}${keyPrefix}${database === 0 ? '' : `@${database}`}`
  }

  channel (channel: string): string {
    return `${this.#channelPrefix}{${encode(channel)}}`
  }

  /** All that belongs to a channel. */
  of (channel: string): ChannelKeys {
    const name = `${this.#prefix}{${encode(channel)}}`
    return {
      channel: this.channel(channel),
      meta: `${name}:m`,
      stream: `${name}:s`,
      idempotency: `${name}:i:`,
      conclusion: `${name}:c:`,
      batch: `${name}:b:`,
      fields: `${name}:f`,
      leases: `${name}:l`
    }
  }

  /** A Redis glob for at least the channels that `pattern` matches. What it matches beyond is sorted out on receipt. */
  pattern (pattern: string): string {
    return `${this.#channelPrefix.replaceAll(/[\\*?[\]]/g, '\\$&')}{${broaden(pattern, encode)}}`
  }

  /** The channel of a Redis channel that was subscribed to; `undefined` where a pattern caught one that is not of ours. */
  parse (redisChannel: string): string | undefined {
    try {
      return decodeURIComponent(redisChannel.slice(this.#channelPrefix.length + 1, -1))
    } catch {
      return undefined
    }
  }
}

/** Colons stay readable, and a star, which `encodeURIComponent` leaves alone, does not stay a star. */
function encode (text: string): string {
  // Most are so, and cost less.
  if (/^[\w:.-]*$/.test(text)) return text
  return encodeURIComponent(text).replaceAll('%3A', ':').replaceAll('*', '%2A')
}
