import { createHash } from 'node:crypto'
import { broaden } from '../glob.ts'

/** Encoded names that are longer are hashed in keys. */
const LONG = 64

/** The names of one channel's log, and of its state. */
export interface ChannelKeys {
  /** Where its events are broadcast. */
  channel: string
  /** What is known of the log and the state. */
  meta: string
  /** The events. */
  stream: string
  /**
   * What an idempotency key of the app was used for: the key follows, as `encodeKey` returns it. No name of ours stands
   * there, since an app may let clients choose keys.
   */
  idempotency: string
  /** The event that has finalized a text: the key of the finalization follows, as `encodeKey` returns it. */
  finalization: string
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
  /** Whether channels are those of shards: each belongs to a slot, which has to be that of its keys. */
  sharded?: boolean | undefined
}

/**
 * How channels are called in Redis: `rt:{chat:123}`. The braces are the hash tag of Redis Cluster, so that all that
 * belongs to a channel lives in one slot. The name inside is percent-encoded, so that neither a brace nor a
 * character of a glob ever reaches Redis from a chat id.
 *
 * Names of keys begin with `keyPrefix`, since the client puts its own prefix before them. Names of channels are sent and
 * received as they are, so they hold the client's prefix, and the number of a database other than 0: `app:rt:@2{chat:123}`.
 *
 * A long name would stand in each of several keys for each event. They have its hash instead: `rt:{#hash}:m`, with a mark
 * that no encoded name has. A channel costs no memory by itself, and a pattern has to find its name: only that of a shard,
 * which no pattern finds, has the hash as well, before the name: `rt:{#hash}chat:123`.
 */
export class RedisKeys {
  readonly #prefix: string
  readonly #channelPrefix: string
  readonly #sharded: boolean

  constructor ({ keyPrefix, clientPrefix = '', database = 0, sharded = false }: Namespace) {
    this.#prefix = keyPrefix
    this.#sharded = sharded
    // No `keyPrefix` has an @.
    this.#channelPrefix = `${clientPrefix}${keyPrefix}${database === 0 ? '' : `@${database}`}`
  }

  channel (channel: string): string {
    const name = encode(channel)
    if (this.#sharded && name.length > LONG) return `${this.#channelPrefix}{${shorten(name)}}${name}`
    return `${this.#channelPrefix}{${name}}`
  }

  /** All that belongs to a channel. */
  of (channel: string): ChannelKeys {
    const name = `${this.#prefix}{${shorten(encode(channel))}}`
    return {
      channel: this.channel(channel),
      meta: `${name}:m`,
      stream: `${name}:s`,
      idempotency: `${name}:i:`,
      finalization: `${name}:c:`,
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
    const start = this.#channelPrefix.length + 1
    const name = redisChannel[start] === '#' ? redisChannel.slice(redisChannel.indexOf('}', start) + 1) : redisChannel.slice(start, -1)
    try {
      return decodeURIComponent(name)
    } catch {
      return undefined
    }
  }
}

/** An idempotency key as it stands in a key of Redis. A hash cannot be taken for a short one: `#` is encoded. */
export function encodeKey (key: string): string {
  return shorten(encode(key))
}

/** Colons stay readable, and a star, which `encodeURIComponent` leaves alone, does not stay a star. */
function encode (text: string): string {
  // Most are so, and cost less.
  if (/^[\w:.-]*$/.test(text)) return text
  return encodeURIComponent(text).replaceAll('%3A', ':').replaceAll('*', '%2A')
}

/** An encoded name as it stands in keys. */
function shorten (name: string): string {
  return name.length > LONG ? `#${createHash('sha256').update(name).digest('base64url')}` : name
}
