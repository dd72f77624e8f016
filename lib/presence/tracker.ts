import { presenceField, userIdOf } from './fields.ts'
import { RealtimeError } from '../errors.ts'
import type { Logger } from '../core/logger.ts'
import { getChatChannel } from '../pubsub/names.ts'
import type { Field, StateStore } from '../pubsub/state-store.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import { logRecovered, logRepeated, type RecoverableFailure } from '../observability/repeated-failure.ts'
import type { EventSink } from '../rooms/event-sink.ts'
import type { PresenceTimes } from './options.ts'
import { timing } from '../core/timing.ts'

const WRITING: RecoverableFailure = {
  level: 'warn', message: 'Presence cannot be written, trying again', recovered: 'Presence is written again'
}

interface PresenceContext extends PresenceTimes {
  /** `undefined` if the provider keeps no state. */
  store: StateStore | undefined
  instanceId: string
  log: Logger
}

/** A user who has a stream of a chat open on this instance, or had one within the grace period. */
interface PresentUser {
  userId: string
  field: string
  streams: number
  /** Whether the user is to be marked as present in the state of the chat. */
  present: boolean
  /** Whether the user is marked as present there, according to the last reply of Redis. */
  marked: boolean
  /** Whether a command for this user is in progress. */
  writing: boolean
  /** Runs while the user has no open stream. */
  grace?: NodeJS.Timeout | undefined
}

/** Number of chats whose leases are renewed in parallel. */
const CHATS_AT_ONCE = 100

/**
 * Tracks which users have a chat open on this instance, and shares them with all instances: each user is marked as
 * present by a field of the chat's state, with a lease.
 */
export class PresenceTracker {
  readonly #options: PresenceContext & { store: StateStore }
  /** The users by channel and user id. */
  readonly #chats = new Map<string, Map<string, PresentUser>>()
  readonly #renewal: RepeatingTimer
  #renewing = false
  #closed = false

  /** Throws `RT_STATE_UNAVAILABLE`. */
  constructor ({ store, ...options }: PresenceContext) {
    if (store === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
    this.#options = { ...options, store }
    this.#renewal = new RepeatingTimer(Math.ceil(options.leaseMs / 3), () => this.#renewAll())
  }

  /** Counts a stream until it closes. Streams without a user id are not counted. */
  add (chatId: string, stream: EventSink): void {
    const { userId } = stream
    if (userId === undefined || stream.closed) return
    const channel = getChatChannel(chatId)
    const user = this.#presentUser(channel, userId)
    clearTimeout(user.grace)
    user.streams++
    user.present = true
    stream.onClose(() => this.#leave(channel, user))
    this.#write(channel, user)
  }

  /** Removes a user at once, even if they have streams open. */
  remove (chatId: string, userId: string): void {
    const channel = getChatChannel(chatId)
    const user = this.#chats.get(channel)?.get(userId)
    if (user !== undefined) this.#end(channel, user)
  }

  /**
   * Writes a missing field again. Either Redis has lost it, or its lease expired because this instance could not renew
   * it in time.
   */
  restore (chatId: string, userId: string): void {
    const channel = getChatChannel(chatId)
    const user = this.#chats.get(channel)?.get(userId)
    if (user?.marked !== true || user.writing) return
    user.marked = false
    // Usually all fields disappear at once and all instances notice it together, so the writes are spread over time.
    setTimeout(() => this.#write(channel, user), Math.random() * timing.resyncSpread).unref()
  }

  /**
   * Stops renewing. The fields stay until their leases expire: a user who reconnects to another instance in time stays
   * present without interruption.
   */
  close (): void {
    this.#closed = true
    this.#renewal.stop()
    for (const users of this.#chats.values()) for (const { grace } of users.values()) clearTimeout(grace)
    this.#chats.clear()
  }

  #presentUser (channel: string, userId: string): PresentUser {
    const { instanceId } = this.#options
    const users = this.#chats.get(channel) ?? new Map<string, PresentUser>()
    this.#chats.set(channel, users)
    const user = users.get(userId) ?? {
      userId, field: presenceField(instanceId, userId), streams: 0, present: true, marked: false, writing: false
    }
    users.set(userId, user)
    this.#renewal.start()
    return user
  }

  #leave (channel: string, user: PresentUser): void {
    user.streams--
    if (this.#closed || user.streams > 0) return
    user.grace = setTimeout(() => this.#end(channel, user), this.#options.graceMs).unref()
  }

  #end (channel: string, user: PresentUser): void {
    clearTimeout(user.grace)
    user.present = false
    this.#write(channel, user)
  }

  /** Marks or unmarks a user, one command at a time. A failed command is retried with the next renewal. */
  async #write (channel: string, user: PresentUser): Promise<void> {
    if (user.writing) return
    user.writing = true
    // Repeated, because the user may join or leave while a command is in progress.
    while (user.marked !== user.present && !this.#closed) {
      if (!await this.#change(channel, user)) break
    }
    user.writing = false
    if (!user.present && !user.marked) this.#forget(channel, user)
  }

  /** Sets or deletes the field of a user. Resolves with whether Redis has replied. */
  async #change (channel: string, user: PresentUser): Promise<boolean> {
    const { store, leaseMs } = this.#options
    const { field, present } = user
    const reply = await this.#try(store.change(
      channel, present ? { operation: 'set', field, value: '', leaseMs } : { operation: 'delete', field }
    ))
    if (reply !== undefined) user.marked = present
    return reply !== undefined
  }

  /** Resolves with the reply, or with `undefined` if Redis has not replied. */
  async #try<T> (result: Promise<T>): Promise<T | undefined> {
    try {
      const reply = await result
      logRecovered(this.#options.log, WRITING)
      return reply
    } catch (error) {
      if (!this.#closed) logRepeated(this.#options.log, WRITING, { reason: (error as Error).message })
      return undefined
    }
  }

  async #renewAll (): Promise<void> {
    // If Redis is unavailable, the previous renewal may still wait for it.
    if (this.#renewing) return
    this.#renewing = true
    const chats = [...this.#chats]
    while (chats.length > 0) {
      await Promise.all(
        chats.splice(0, CHATS_AT_ONCE).map(([channel, users]) => this.#renew(channel, [...users.values()]))
      )
    }
    this.#renewing = false
  }

  async #renew (channel: string, users: PresentUser[]): Promise<void> {
    const { store, leaseMs } = this.#options
    const marked = users.filter((user) => user.present && user.marked)
    if (marked.length > 0) {
      const renewed = await this.#try(store.renew(channel, marked.map(({ field }) => field), leaseMs))
      if (renewed === undefined) return
      const gone = new Set(renewed.gone)
      for (const user of marked) if (gone.has(user.field)) user.marked = false
    }
    await Promise.all(users.map((user) => this.#write(channel, user)))
  }

  #forget (channel: string, user: PresentUser): void {
    const users = this.#chats.get(channel)
    // A new entry of the same user may have replaced this one.
    if (users?.get(user.userId) !== user) return
    users.delete(user.userId)
    if (users.size > 0) return
    this.#chats.delete(channel)
    if (this.#chats.size === 0) this.#renewal.stop()
  }
}

/**
 * Reads the sorted ids of the users who are present in a chat, on all instances. Rejects with `RT_CHAT_ID_INVALID`,
 * `RT_STATE_UNAVAILABLE` or `RT_LOG_UNAVAILABLE`.
 */
export async function readPresence (store: StateStore | undefined, chatId: string): Promise<string[]> {
  const channel = getChatChannel(chatId)
  if (store === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
  const { fields, doubtful } = await store.read(channel)
  const users = new Set<string>()
  // Without a known version `read` returns all fields.
  for (const field of (fields as Map<string, Field>).keys()) {
    const userId = userIdOf(field)
    if (userId !== undefined && doubtful?.has(field) !== true) users.add(userId)
  }
  return [...users].sort()
}
