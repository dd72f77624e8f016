import type { Cluster, Redis } from 'ioredis'
import { RealtimeError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { within } from '../within.ts'
import { closeConnection, describeRedisError, watchConnection } from './redis-connection.ts'

export interface RedisPublisherOptions {
  /** Whether the connection is ours to close. */
  owned: boolean
  /** Milliseconds until a publish without an answer rejects. */
  timeoutMs: number
  log: Logger
}

/** A message that waits for a connection. */
interface Waiting {
  send (): void
  reject (error: RealtimeError): void
  timer: NodeJS.Timeout
}

/**
 * Sends messages in the order they came, and tells apart what was not published from what may have been. Nothing is ever sent
 * after its promise was rejected, but for a message whose reply was lost.
 */
export class RedisPublisher {
  readonly #client: Redis | Cluster
  readonly #owned: boolean
  readonly #timeoutMs: number
  readonly #waiting = new Set<Waiting>()
  readonly #onReady = (): void => this.#flush()
  readonly #unwatch: () => void
  #closed = false

  constructor (client: Redis | Cluster, { owned, timeoutMs, log }: RedisPublisherOptions) {
    this.#client = client
    this.#owned = owned
    this.#timeoutMs = timeoutMs
    this.#unwatch = watchConnection(client, 'publisher', log)
    client.on('ready', this.#onReady)
  }

  /** Publishes, waiting for a connection if need be. Rejects with `RT_PUBLISH_REJECTED`, `RT_PUBLISH_UNKNOWN` or `RT_CLOSED`. */
  async publish (redisChannel: string, message: Buffer): Promise<void> {
    const deadline = performance.now() + this.#timeoutMs
    // Also when just connected: what waits goes first.
    if (this.#isReady() && this.#waiting.size === 0) {
      const sent = await this.#send(redisChannel, message, deadline)
      if (sent) return
    }
    await this.#sendWhenReady(redisChannel, message, deadline)
  }

  /** Publishes if there is a connection now, else rejects with `RT_PUBLISH_REJECTED` at once. */
  async publishNow (redisChannel: string, message: Buffer): Promise<void> {
    const sent = this.#isReady() && await this.#send(redisChannel, message, performance.now() + this.#timeoutMs)
    if (!sent) throw new RealtimeError('RT_PUBLISH_REJECTED', 'Redis is not connected')
  }

  /** Rejects where Redis doesn't answer. */
  async isHealthy (): Promise<boolean> {
    if (!this.#isReady()) return false
    await this.#client.ping()
    return true
  }

  /** Rejects what waits, then closes the connection if it is ours. */
  async close (): Promise<void> {
    this.#closed = true
    for (const { timer, reject } of this.#waiting) {
      clearTimeout(timer)
      reject(new RealtimeError('RT_CLOSED', 'RedisPubSub'))
    }
    this.#waiting.clear()
    this.#client.off('ready', this.#onReady)
    if (this.#owned) await closeConnection(this.#client, this.#unwatch)
    else this.#unwatch()
  }

  #isReady (): boolean {
    return this.#client.status === 'ready'
  }

  #sendWhenReady (redisChannel: string, message: Buffer, deadline: number): Promise<void> {
    if (this.#closed) return Promise.reject(new RealtimeError('RT_CLOSED', 'RedisPubSub'))
    const late = (): RealtimeError => new RealtimeError('RT_PUBLISH_REJECTED', `Redis was not connected for ${this.#timeoutMs} ms`)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(waiting)
        reject(late())
      }, deadline - performance.now())
      const send = (): void => {
        this.#send(redisChannel, message, deadline).then((sent) => { if (sent) resolve(); else reject(late()) }, reject)
      }
      const waiting = { send, reject, timer }
      this.#waiting.add(waiting)
    })
  }

  #flush (): void {
    for (const { timer, send } of this.#waiting) {
      clearTimeout(timer)
      send()
    }
    this.#waiting.clear()
  }

  /** Sends now. Resolves with whether it was sent at all: the connection may be closing. */
  async #send (redisChannel: string, message: Buffer, deadline: number): Promise<boolean> {
    try {
      await within(this.#client.publish(redisChannel, message), deadline - performance.now())
      return true
    } catch (error) {
      // Whatever ioredis rejects with is an Error.
      const { name, message: reason } = error as Error
      if (reason.startsWith('Stream isn\'t writeable')) return false
      // An answer of Redis itself: it did not publish.
      if (name === 'ReplyError') throw new RealtimeError('RT_PUBLISH_REJECTED', `Redis said ${describeRedisError(error as Error)}`)
      throw new RealtimeError('RT_PUBLISH_UNKNOWN', `the reply of Redis was lost or took more than ${this.#timeoutMs} ms`)
    }
  }
}
