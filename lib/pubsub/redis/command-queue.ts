import { promiseTry } from '../../core/promise-try.ts'
import { RealtimeError } from '../../errors.ts'
import type { Logger } from '../../core/logger.ts'
import { LinkedList, type Linked } from '../../core/linked-list.ts'
import type { RedisClient } from './client.ts'
import { closeConnection, describeRedisError, watchConnection } from './connection.ts'
import { cork } from './cork.ts'
import type { Script } from './scripts.ts'
import { budgets } from '../../core/budgets.ts'
import { timing } from '../../core/timing.ts'

/** What an event, or another command, takes in memory beside its payload until it settles, about. */
export const BYTES_EACH = 1_280

export interface RedisPublisherOptions {
  /** Whether the connection is ours to close. */
  owned: boolean
  /** Milliseconds until a command without an answer rejects. */
  timeoutMs: number
  log: Logger
  /** Bytes of tasks that may be unsettled. @default 64 MiB */
  mostBytes?: number
}

/** Sends a command. `isCold` tells of a script that Redis may not know. */
export type Command<T> = (client: RedisClient, isCold: (script: Script) => boolean) => Promise<T>

/** What Redis is to do, and who is told what came of it. */
export interface Task<T> {
  command: Command<T>
  /** What it takes in memory until it settles, about. */
  bytes: number
  /** Whether doing it twice is the same as doing it once, so that it can be sent again when a reply was lost. */
  repeatable: boolean
  /** Where Redis refuses it and can't have done it, it resolves with what this returns, if anything. */
  instead? (error: Error): T | undefined
  resolve (value: T): void
  /** Is given `RT_PUBLISH_REJECTED`, `RT_PUBLISH_UNKNOWN` or `RT_CLOSED`. */
  reject (error: RealtimeError): void
}

/** A task that has not settled. */
interface Pending extends Linked<Pending> {
  task: Task<unknown>
  /** How many times Redis may have done it. */
  unsure: number
  /** Whether it is on its way on the connection of now. */
  underway: boolean
  /** Counts sendings: the reply to an earlier one says nothing. */
  sending: number
  /** When it is given up, by `performance.now()`. */
  deadline: number
}

/**
 * Sends commands in the order they came, again after a reconnect, and tells apart what was not done from what may have been. Nothing
 * is sent after its promise was rejected. What is unsettled is bounded in bytes, whatever it is: an event, a change of a state, a probe
 * of the health check, which is to fail where publishing does. Beyond that, a command is rejected before it is queued.
 */
export class CommandQueue {
  readonly #client: RedisClient
  readonly #owned: boolean
  readonly #timeoutMs: number
  readonly #mostBytes: number
  /** In the order they came, which is that of their deadlines. */
  readonly #pending = new LinkedList<Pending>()
  readonly #onReady = (): void => {
    this.#warm.clear()
    // After whoever waits for the connection to read: they began to listen before, and read where the log ends.
    setImmediate(() => this.#sendAll(false))
  }

  readonly #isNew = (script: Script): boolean => {
    const isNew = !this.#warm.has(script)
    if (isNew) this.#warm.add(script)
    return isNew
  }

  readonly #unwatch: () => void
  #waiting = 0
  #bytes = 0
  /** The scripts that Redis was sent since it was connected. Told with the first command that needs it, the others can follow at once. */
  readonly #warm = new Set<Script>()
  #later: NodeJS.Timeout | undefined
  /** For the oldest, or one that has gone: a timer for each would cost more than the rest of it here. */
  #expiry: NodeJS.Timeout | undefined
  /** Whether what is sent in this turn is gathered. */
  #corked = false
  #closed = false

  constructor (client: RedisClient, { owned, timeoutMs, log, mostBytes = budgets.unanswered }: RedisPublisherOptions) {
    this.#client = client
    this.#owned = owned
    this.#timeoutMs = timeoutMs
    this.#mostBytes = mostBytes
    this.#unwatch = watchConnection(client, 'publisher', log)
    client.on('ready', this.#onReady)
  }

  /**
   * Sends a command, waiting for a connection if need be. Rejects as a task does. One that is repeatable is sent again until its reply comes; of
   * another, a lost reply is unknown.
   */
  send<T> (command: Command<T>, { repeatable, bytes = 0 }: { repeatable: boolean, bytes?: number }): Promise<T> {
    return new Promise((resolve, reject) => {
      this.perform({ command, bytes: bytes + BYTES_EACH, repeatable, resolve, reject })
    })
  }

  /** The same, for less than a promise costs. */
  perform<T> (task: Task<T>): void {
    if (this.#closed) return task.reject(new RealtimeError('RT_CLOSED', 'RedisPubSub'))
    // One alone is taken, however large it is.
    if (this.#bytes > 0 && this.#bytes + task.bytes > this.#mostBytes) return task.reject(this.#full())
    this.#bytes += task.bytes
    const pending: Pending = { task: task as Task<unknown>, unsure: 0, underway: false, sending: 0, deadline: performance.now() + this.#timeoutMs }
    this.#expiry ??= setTimeout(() => this.#expire(), this.#timeoutMs).unref()
    this.#pending.add(pending)
    this.#waiting++
    // What waits goes first, also when the connection was just made.
    if (this.#isReady() && this.#waiting === 1) this.#send(pending, false)
    // (What was sent has the connection to keep the process alive.)
    else this.#expiry.ref()
  }

  /** Sends a command if there is a connection now, else rejects with `RT_PUBLISH_REJECTED` at once. */
  async sendNow<T> (command: Command<T>, bytes: number): Promise<T> {
    if (!this.#isReady()) throw new RealtimeError('RT_PUBLISH_REJECTED', 'Redis is not connected')
    return await this.send(command, { repeatable: false, bytes })
  }

  get isConnected (): boolean {
    return this.#isReady()
  }

  /** Rejects if Redis doesn't answer. */
  async ping (): Promise<void> {
    await this.#client.ping()
  }

  /** Rejects what was not sent, gives what was a moment for its reply, then closes the connection if it is ours. */
  async close (): Promise<void> {
    this.#closed = true
    for (const pending of this.#pending) {
      if (!pending.underway) this.#giveUp(pending)
    }
    clearTimeout(this.#later)
    this.#client.off('ready', this.#onReady)
    if (this.#owned) await closeConnection(this.#client, this.#unwatch)
    else this.#unwatch()
    if (this.#pending.size === 0) clearTimeout(this.#expiry)
  }

  #isReady (): boolean {
    return this.#client.status === 'ready'
  }

  #full (): RealtimeError {
    const state = this.#isReady() ? 'has not answered' : 'is not connected'
    return new RealtimeError('RT_PUBLISH_REJECTED', `Redis ${state}, and what was published before takes ${this.#bytes} of ` +
      `${this.#mostBytes} bytes that may wait for it, so await earlier publishes before later ones`)
  }

  #late ({ unsure }: Pending): RealtimeError {
    return unsure > 0
      ? unknown(`the reply of Redis was lost or took more than ${this.#timeoutMs} ms`)
      : new RealtimeError('RT_PUBLISH_REJECTED', `Redis was not connected for ${this.#timeoutMs} ms`)
  }

  /** Sends all that waits, in order; with `cold`, all that has no reply yet. */
  #sendAll (cold: boolean): void {
    for (const pending of this.#pending) {
      if (cold && pending.underway && pending.task.repeatable) this.#wait(pending)
    }
    for (const pending of this.#pending) {
      if (!pending.underway) this.#send(pending, cold)
    }
  }

  #send (pending: Pending, cold: boolean): void {
    if (this.#pending.size > 1) this.#cork()
    pending.underway = true
    this.#waiting--
    const sending = ++pending.sending
    pending.unsure++
    promiseTry(() => pending.task.command(this.#client, cold ? always : this.#isNew)).then((value) => {
      this.#resolve(pending, value)
    }, (error: Error) => {
      // It was not done this time. It may have been at another, if a reply was lost. (Whatever ioredis rejects with is an Error.)
      if (isReply(error) || neverLeft(error)) pending.unsure--
      // It was sent again since, or has settled.
      if (sending !== pending.sending || !this.#pending.has(pending)) return
      this.#failed(pending, error)
    })
  }

  /** Gathers what is sent in this turn. Only while there is more than one: alone it would wait for nothing. */
  #cork (): void {
    if (this.#corked) return
    this.#corked = true
    const uncork = cork(this.#client)
    process.nextTick(() => {
      this.#corked = false
      uncork()
    })
  }

  #failed (pending: Pending, error: Error): void {
    if (isReply(error)) {
      // Redis has forgotten the script. Whatever was sent behind this one has to stay behind it: lua/includes/log.lua sees to that.
      if (error.message.startsWith('NOSCRIPT ')) return this.#sendAll(true)
      // One before it was refused, or is on its way once more. A Cluster may hold it for a while.
      if (error.message.startsWith('EARLY ')) {
        this.#wait(pending)
        return this.#client.isCluster && pending.sending > 1 ? this.#sendLater() : this.#sendAll(false)
      }
      const value = pending.unsure > 0 ? undefined : pending.task.instead?.(error)
      if (value !== undefined) return this.#resolve(pending, value)
      const reason = `Redis said ${describeRedisError(error)}`
      return this.#reject(pending, pending.unsure > 0 ? unknown(`a reply was lost, then ${reason}`) : new RealtimeError('RT_PUBLISH_REJECTED', reason))
    }
    if (this.#closed) return this.#giveUp(pending)
    if (pending.unsure > 0 && !pending.task.repeatable) return this.#reject(pending, unknown('the reply of Redis was lost'))
    // The next `ready` sends it.
    this.#wait(pending)
    if (this.#isReady()) this.#sendLater()
  }

  /** A client that stays connected tells of no next `ready`: a Cluster that lost one node, or one whose commands time out. */
  #sendLater (): void {
    this.#later ??= setTimeout(() => {
      this.#later = undefined
      if (this.#isReady()) this.#sendAll(false)
    }, timing.redisRetryMin).unref()
  }

  #giveUp (pending: Pending): void {
    this.#reject(pending, pending.unsure > 0 ? unknown('RedisPubSub was closed before the reply came') : new RealtimeError('RT_CLOSED', 'RedisPubSub'))
  }

  #wait (pending: Pending): void {
    pending.underway = false
    this.#waiting++
    this.#expiry?.ref()
  }

  #resolve (pending: Pending, value: unknown): void {
    if (this.#remove(pending)) pending.task.resolve(value)
  }

  #reject (pending: Pending, error: RealtimeError): void {
    if (this.#remove(pending)) pending.task.reject(error)
  }

  /** Returns whether it had not settled. */
  #remove (pending: Pending): boolean {
    if (!this.#pending.delete(pending)) return false
    this.#bytes -= pending.task.bytes
    if (!pending.underway) this.#waiting--
    if (this.#pending.size === 0) this.#expiry?.unref()
    return true
  }

  /** Gives up what is late. */
  #expire (): void {
    const now = performance.now()
    for (const pending of this.#pending) {
      if (pending.deadline > now) {
        this.#expiry = setTimeout(() => this.#expire(), pending.deadline - now)
        return
      }
      this.#reject(pending, this.#late(pending))
    }
    this.#expiry = undefined
  }
}

function always (): boolean {
  return true
}

/** Whether Redis itself answered: then it did nothing. */
function isReply (error: Error): boolean {
  return error.name === 'ReplyError'
}

/** Whether a command was refused by its own client, since the connection is closing. */
function neverLeft (error: Error): boolean {
  return error.message.startsWith('Stream isn\'t writeable')
}

function unknown (what: string): RealtimeError {
  return new RealtimeError('RT_PUBLISH_UNKNOWN', what)
}
