import { promiseTry } from '../../core/promise-try.ts'
import { RealtimeError } from '../../errors.ts'
import type { Logger } from '../../core/logger.ts'
import { LinkedList, type Linked } from '../../core/linked-list.ts'
import type { RedisClient } from './client.ts'
import { closeConnection, describeRedisError, isReply, neverLeft, watchConnection } from './connection.ts'
import { Cork } from './cork.ts'
import { budgets } from '../../core/budgets.ts'
import { timing } from '../../core/timing.ts'

/** Approximate memory in bytes that an unsettled event or command takes in addition to its payload. */
export const BYTES_EACH = 1_280

/** A command of so many bytes or more, such as a full batch of events, is written at once. Includes `BYTES_EACH`. */
const LARGE = 65_536

interface CommandQueueOptions {
  /** Whether this queue owns the connection, and so closes it. */
  owned: boolean
  /** Milliseconds until a command without a reply rejects. */
  timeoutMs: number
  log: Logger
  /** Called after each connect, before a command is sent. */
  onConnect? (): void
  /** Maximum bytes of unsettled tasks. @default 64 MiB */
  mostBytes?: number
}

/** Sends a command. */
export type Command<T> = (client: RedisClient) => Promise<T>

/**
 * The commands to send again after a refusal: only `this` one, or `all` that have no reply yet. With `all`, commands
 * that were sent after the refused one stay behind it.
 */
type Resend = 'this' | 'all'

export interface SendOptions {
  /** Whether the command is idempotent, so that it can be sent again after a lost reply. */
  repeatable: boolean
  /** Size of the arguments in bytes. @default 0 */
  bytes?: number
  /** Called if Redis refused the command. Returns what to send again, or `undefined` if the refusal is final. */
  resend? (error: Error): Resend | undefined
}

/** A command to send, with the callbacks for its outcome. */
export interface Task<T> extends SendOptions {
  command: Command<T>
  /** Approximate memory in bytes that the task takes until it settles. */
  bytes: number
  /**
   * Called if Redis refused the command and cannot have applied an earlier sending of it. The task resolves with the
   * returned value. If that is `undefined`, the task rejects.
   */
  instead? (error: Error): T | undefined
  resolve (value: T): void
  /** Called with `RT_PUBLISH_REJECTED`, `RT_PUBLISH_UNKNOWN` or `RT_CLOSED`. */
  reject (error: RealtimeError): void
}

/** A task that has not settled. */
interface Pending extends Linked<Pending> {
  task: Task<unknown>
  /** Number of sendings that Redis may have applied. A sending that was refused, or not sent, does not count. */
  unsure: number
  /** Whether it was sent on the current connection and awaits its reply. */
  underway: boolean
  /** Number of the latest sending. Replies to earlier sendings are ignored. */
  sending: number
  /** The `performance.now()` time at which the task is rejected. */
  deadline: number
}

/**
 * Sends commands in the order they were queued, and sends repeatable ones again after a reconnect. The error of a
 * failed command states whether Redis certainly did not apply it or may have applied it. A rejected command is never
 * sent again. Unsettled commands are bounded in bytes, and a command over the limit is rejected before it is queued.
 * The limit also applies to health probes, because a probe has to fail when publishing fails.
 */
export class CommandQueue {
  readonly #client: RedisClient
  readonly #owned: boolean
  readonly #timeoutMs: number
  readonly #mostBytes: number
  /** In the order they were queued, which is also the order of their deadlines. */
  readonly #pending = new LinkedList<Pending>()
  readonly #onReady: () => void
  readonly #unwatch: () => void
  /** Number of pending tasks that are not underway. */
  #waiting = 0
  #bytes = 0
  #later: NodeJS.Timeout | undefined
  /** One timer, set for the oldest task (which may have settled since). A timer for each task would cost too much. */
  #expiry: NodeJS.Timeout | undefined
  readonly #cork = new Cork()
  #closed = false

  constructor (
    client: RedisClient,
    { owned, timeoutMs, log, onConnect, mostBytes = budgets.unanswered }: CommandQueueOptions
  ) {
    this.#client = client
    this.#owned = owned
    this.#timeoutMs = timeoutMs
    this.#mostBytes = mostBytes
    this.#unwatch = watchConnection(client, 'publisher', log)
    this.#onReady = () => {
      onConnect?.()
      // Readers that wait for this connection go first: they read where the log ends before anything more is published.
      setImmediate(() => this.#sendAll())
    }
    client.on('ready', this.#onReady)
  }

  /**
   * Sends a command, and waits for a connection if necessary. Rejects with the same errors as a task. A repeatable
   * command is sent again after a lost reply. Any other command then rejects with `RT_PUBLISH_UNKNOWN`.
   */
  send<T> (command: Command<T>, { bytes = 0, ...options }: SendOptions): Promise<T> {
    return new Promise((resolve, reject) => {
      this.perform({ ...options, command, bytes: bytes + BYTES_EACH, resolve, reject })
    })
  }

  /** Like `send`, but with callbacks, which cost less than a promise. */
  perform<T> (task: Task<T>): void {
    if (this.#closed) return task.reject(new RealtimeError('RT_CLOSED', 'RedisPubSub'))
    // If nothing is pending, a task of any size is accepted.
    if (this.#bytes > 0 && this.#bytes + task.bytes > this.#mostBytes) return task.reject(this.#full())
    this.#bytes += task.bytes
    const pending: Pending = {
      task: task as Task<unknown>,
      unsure: 0,
      underway: false,
      sending: 0,
      deadline: performance.now() + this.#timeoutMs
    }
    this.#expiry ??= setTimeout(() => this.#expire(), this.#timeoutMs).unref()
    this.#pending.add(pending)
    this.#waiting++
    // Tasks that already wait go first, also right after a connect.
    if (this.isConnected && this.#waiting === 1) this.#send(pending)
    // A waiting task keeps the process alive through the timer. A sent one does so through the open connection.
    else this.#expiry.ref()
  }

  /** Sends a command if the client is connected; otherwise rejects with `RT_PUBLISH_REJECTED` at once. */
  async sendNow<T> (command: Command<T>, bytes: number): Promise<T> {
    if (!this.isConnected) throw new RealtimeError('RT_PUBLISH_REJECTED', 'Redis is not connected')
    return await this.send(command, { repeatable: false, bytes })
  }

  get isConnected (): boolean {
    return this.#client.status === 'ready'
  }

  /** Rejects if Redis does not reply. */
  async ping (): Promise<void> {
    await this.#client.ping()
  }

  /** Rejects unsent tasks. If the queue owns the connection, waits briefly for pending replies, then closes it. */
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

  #full (): RealtimeError {
    const state = this.isConnected ? 'has not replied' : 'is not connected'
    return new RealtimeError(
      'RT_PUBLISH_REJECTED',
      `Redis ${state}, and earlier publishes take ${this.#bytes} of ` +
      `the ${this.#mostBytes} bytes that may wait for it, so await them before you publish more`
    )
  }

  #late ({ unsure }: Pending): RealtimeError {
    return unsure > 0
      ? unknown(`the reply of Redis was lost or took more than ${this.#timeoutMs} ms`)
      : new RealtimeError('RT_PUBLISH_REJECTED', `Redis was not connected for ${this.#timeoutMs} ms`)
  }

  /** Sends all waiting tasks in order. */
  #sendAll (): void {
    for (const pending of this.#pending) {
      if (!pending.underway) this.#send(pending)
    }
  }

  #send (pending: Pending): void {
    // A single command is not held back, nor is a large one: Redis can execute it while the next ones are prepared.
    if (this.#pending.size > 1 && pending.task.bytes < LARGE) this.#cork.hold(this.#client)
    pending.underway = true
    this.#waiting--
    const sending = ++pending.sending
    pending.unsure++
    promiseTry(() => pending.task.command(this.#client)).then((value) => {
      this.#resolve(pending, value)
    }, (error: Error) => {
      // This sending was not applied, but an earlier one may have been. ioredis always rejects with an Error.
      if (isReply(error) || neverLeft(error)) pending.unsure--
      // Ignore the error if the task was sent again meanwhile, or has settled.
      if (sending !== pending.sending || !this.#pending.has(pending)) return
      this.#failed(pending, error)
    })
  }

  #failed (pending: Pending, error: Error): void {
    if (isReply(error)) return this.#refused(pending, error)
    if (this.#closed) return this.#giveUp(pending)
    if (pending.unsure > 0 && !pending.task.repeatable) {
      return this.#reject(pending, unknown('the reply of Redis was lost'))
    }
    // The next `ready` event sends it.
    this.#wait(pending)
    if (this.isConnected) this.#sendLater()
  }

  #refused (pending: Pending, error: Error): void {
    const resend = pending.task.resend?.(error)
    if (resend !== undefined) return this.#resend(pending, resend)
    const value = pending.unsure > 0 ? undefined : pending.task.instead?.(error)
    if (value !== undefined) return this.#resolve(pending, value)
    const reason = `Redis said ${describeRedisError(error)}`
    this.#reject(pending, pending.unsure > 0
      ? unknown(`a reply was lost, then ${reason}`)
      : new RealtimeError('RT_PUBLISH_REJECTED', reason))
  }

  #resend (refused: Pending, what: Resend): void {
    if (what === 'all') {
      for (const pending of this.#pending) if (pending.underway && pending.task.repeatable) this.#wait(pending)
      return this.#sendAll()
    }
    this.#wait(refused)
    // A Cluster client may delay an earlier command, so this one can be refused repeatedly. From the second refusal on,
    // it is sent again after a delay.
    if (this.#client.isCluster && refused.sending > 1) this.#sendLater()
    else this.#sendAll()
  }

  /**
   * Sends waiting tasks after a delay. A client that stays connected emits no further `ready` event: a Cluster that
   * lost one node, or a client whose commands time out.
   */
  #sendLater (): void {
    this.#later ??= setTimeout(() => {
      this.#later = undefined
      if (this.isConnected) this.#sendAll()
    }, timing.redisRetryMin).unref()
  }

  #giveUp (pending: Pending): void {
    this.#reject(pending, pending.unsure > 0
      ? unknown('RedisPubSub was closed before the reply arrived')
      : new RealtimeError('RT_CLOSED', 'RedisPubSub'))
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

  /** Returns false if the task had already settled. */
  #remove (pending: Pending): boolean {
    if (!this.#pending.delete(pending)) return false
    this.#bytes -= pending.task.bytes
    if (!pending.underway) this.#waiting--
    if (this.#pending.size === 0) this.#expiry?.unref()
    return true
  }

  /** Rejects the tasks whose deadline has passed. */
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

function unknown (what: string): RealtimeError {
  return new RealtimeError('RT_PUBLISH_UNKNOWN', what)
}
