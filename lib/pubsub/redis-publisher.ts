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

  constructor (client: Redis | Cluster, { owned, timeoutMs, log }: RedisPublisherOptions) {
    this.#client = client
    this.#owned = owned
    this.#timeoutMs = timeoutMs
    this.#unwatch = watchConnection(client, 'publisher', log)
    client.on('ready', this.#onReady)
  }

  /** Publishes, waiting for a connection if need be. Rejects with `RT_PUBLISH_REJECTED`, `RT_PUBLISH_UNKNOWN` or `RT_CLOSED`. */
  publish (redisChannel: string, message: Buffer): Promise<void> {
    // Also when just connected: what waits goes first.
    const direct = this.#isReady() && this.#waiting.size === 0
    return direct ? this.#send(redisChannel, message, this.#timeoutMs) : this.#sendWhenReady(redisChannel, message)
  }

  /** Publishes if there is a connection now, else rejects with `RT_PUBLISH_REJECTED` at once. */
  async publishNow (redisChannel: string, message: Buffer): Promise<void> {
    if (!this.#isReady()) throw new RealtimeError('RT_PUBLISH_REJECTED', 'Redis is not connected')
    await this.#send(redisChannel, message, this.#timeoutMs)
  }

  /** Rejects where Redis doesn't answer. */
  async isHealthy (): Promise<boolean> {
    if (!this.#isReady()) return false
    await this.#client.ping()
    return true
  }

  /** Rejects what waits, then closes the connection if it is ours. */
  async close (): Promise<void> {
    for (const { timer, reject } of this.#waiting) {
      clearTimeout(timer)
      reject(new RealtimeError('RT_CLOSED', 'RedisPubSub'))
    }
    this.#waiting.clear()
    this.#client.off('ready', this.#onReady)
    if (this.#owned) await closeConnection(this.#client)
    else this.#unwatch()
  }

  #isReady (): boolean {
    return this.#client.status === 'ready'
  }

  #sendWhenReady (redisChannel: string, message: Buffer): Promise<void> {
    const deadline = performance.now() + this.#timeoutMs
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(waiting)
        reject(new RealtimeError('RT_PUBLISH_REJECTED', `Redis was not connected for ${this.#timeoutMs} ms`))
      }, this.#timeoutMs)
      const send = (): void => resolve(this.#send(redisChannel, message, deadline - performance.now()))
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

  async #send (redisChannel: string, message: Buffer, timeoutMs: number): Promise<void> {
    try {
      await within(this.#client.publish(redisChannel, message), timeoutMs)
    } catch (error) {
      throw wasRefused(error)
        ? new RealtimeError('RT_PUBLISH_REJECTED', `Redis said ${describeRedisError(error)}`)
        : new RealtimeError('RT_PUBLISH_UNKNOWN', `the reply of Redis was lost or took more than ${this.#timeoutMs} ms`)
    }
  }
}

/** Whether Redis itself answered with an error, or the message never left: then nothing was published. */
function wasRefused (error: unknown): boolean {
  return error instanceof Error && (error.name === 'ReplyError' || error.message.startsWith('Stream isn\'t writeable'))
}
