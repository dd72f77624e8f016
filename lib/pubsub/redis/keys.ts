import { createHash } from 'node:crypto'
import { broaden } from '../glob.ts'

/** Encoded names longer than this many characters are hashed in keys. */
const LONG = 64

/**
 * The Redis names that belong to one channel. Each is built when it is used, since a publish uses few of them.
 */
export class ChannelKeys {
  /** The Redis channel on which its events are broadcast. */
  readonly channel: string
  readonly #name: string

  constructor (channel: string, name: string) {
    this.channel = channel
    this.#name = name
  }

  /** Key of the metadata of the log and the state. */
  get meta (): string { return `${this.#name}:m` }
  /** Key of the stream of events. */
  get stream (): string { return `${this.#name}:s` }
  /**
   * Prefix of the keys that store idempotency keys of the app. The result of `encodeKey` follows. No key of the plugin
   * uses this prefix, since an app may let clients choose idempotency keys.
   */
  get idempotency (): string { return `${this.#name}:i:` }
  /** Prefix of the keys that store the keys of rows of an outbox. The result of `encodeKey` follows. */
  get row (): string { return `${this.#name}:o:` }
  /** Prefix of the keys that store the id of the event of a finalized draft. The result of `encodeKey` follows. */
  get finalization (): string { return `${this.#name}:c:` }
  /** Prefix of the keys that store the content of drafts. The result of `encodeKey` of the field follows. */
  get draft (): string { return `${this.#name}:d:` }
  /** Prefix of the keys that store the outcome of a batch. The name of the batch follows. */
  get batch (): string { return `${this.#name}:b:` }
  /** Key of the state's fields. */
  get fields (): string { return `${this.#name}:f` }
  /** Key of the times at which the leases of the fields expire. */
  get leases (): string { return `${this.#name}:l` }
}

/** Options that determine the names of keys and channels. */
interface Namespace {
  /** The option `keyPrefix`. */
  keyPrefix: string
  /** The `keyPrefix` of the ioredis client. ioredis adds it to keys, but not to most channels. */
  clientPrefix?: string | undefined
  /** The number of the database. Redis pub/sub itself does not separate databases. */
  database?: number | undefined
  /** Whether shard channels are used. Each belongs to a slot, which must be the slot of the channel's keys. */
  sharded?: boolean | undefined
}

/**
 * Builds the Redis names of channels and keys, such as `rt:{chat:123}`. The braces are a Redis Cluster hash tag: all
 * keys of a channel are in one slot. The name inside the braces is percent-encoded, so that a chat id can never put a
 * brace or a glob character into a Redis name.
 *
 * Key names begin with `keyPrefix`, because ioredis adds the client's prefix to keys. Channel names are sent and
 * received unchanged, so they contain the client's prefix, and the database number if it is not 0:
 * `app:rt:@2{chat:123}`.
 *
 * Keys contain the hash of a long name instead of the name, which would otherwise be repeated in several keys for each
 * event: `rt:{#hash}:m`. No encoded name contains `#`. Channels keep the full name: they take no memory in Redis, and
 * patterns must match the name. A shard channel, which patterns cannot match, has the hash before the name, so that it
 * is in the slot of the keys: `rt:{#hash}chat:123`.
 */
export class RedisKeys {
  readonly #prefix: string
  /** What all Redis channels of this namespace begin with. */
  readonly #channelStart: string
  readonly #sharded: boolean

  constructor ({ keyPrefix, clientPrefix = '', database = 0, sharded = false }: Namespace) {
    this.#prefix = keyPrefix
    this.#sharded = sharded
    // The option `keyPrefix` cannot contain an @.
    this.#channelStart = `${clientPrefix}${keyPrefix}${database === 0 ? '' : `@${database}`}{`
  }

  channel (channel: string): string {
    return this.#channel(encode(channel))
  }

  /** Returns all Redis names of a channel. */
  of (channel: string): ChannelKeys {
    const name = encode(channel)
    return new ChannelKeys(this.#channel(name), `${this.#prefix}{${shorten(name)}}`)
  }

  /** Returns the Redis channel of an encoded name. */
  #channel (name: string): string {
    if (this.#sharded && name.length > LONG) return `${this.#channelStart}${shorten(name)}}${name}`
    return `${this.#channelStart}${name}}`
  }

  /** Returns a Redis glob that matches at least the channels of `pattern`. Other messages are filtered on receipt. */
  pattern (pattern: string): string {
    return `${this.#channelStart.replaceAll(/[\\*?[\]]/g, '\\$&')}${broaden(pattern, encode)}}`
  }

  /**
   * Returns the channel name of a received Redis channel. Returns `undefined` if it is in another namespace, or if a
   * pattern matched a foreign channel.
   */
  parse (redisChannel: string): string | undefined {
    if (!redisChannel.startsWith(this.#channelStart)) return undefined
    const start = this.#channelStart.length
    const name = redisChannel[start] === '#'
      ? redisChannel.slice(redisChannel.indexOf('}', start) + 1)
      : redisChannel.slice(start, -1)
    try {
      return decodeURIComponent(name)
    } catch {
      return undefined
    }
  }
}

/** Encodes an idempotency key for a Redis key. A hash cannot collide with a short key, because `#` is encoded. */
export function encodeKey (key: string): string {
  return shorten(encode(key))
}

/** Percent-encodes a name, but keeps colons readable. Encodes `*` too, which `encodeURIComponent` does not. */
function encode (text: string): string {
  // Fast path: most names need no encoding.
  if (/^[\w:.-]*$/.test(text)) return text
  return encodeURIComponent(text).replaceAll('%3A', ':').replaceAll('*', '%2A')
}

/** Returns an encoded name, or its hash if it is too long for a key. */
function shorten (name: string): string {
  return name.length > LONG ? `#${createHash('sha256').update(name).digest('base64url')}` : name
}
