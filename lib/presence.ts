import { attendanceField, attendeeOf } from './attendance.ts'
import { RealtimeError } from './errors.ts'
import type { Logger } from './logger.ts'
import { timing, type PresenceTimes } from './options.ts'
import { getChatChannel } from './pubsub/channel.ts'
import type { Field, StateStore } from './pubsub/state-store.ts'
import { RepeatingTimer } from './repeating-timer.ts'
import { logRecovered, logRepeated, type RecoverableFailure } from './repeated-failure.ts'
import type { Stream } from './rooms/stream.ts'

const TELLING: RecoverableFailure = {
  level: 'warn', message: 'Presence can\'t be written, trying again', recovered: 'Presence is written again'
}

interface PresenceContext extends PresenceTimes {
  /** `undefined` where the provider keeps none. */
  store: StateStore | undefined
  instanceId: string
  log: Logger
}

/** A user who has, or had moments ago, a stream of a chat open on this instance. */
interface Attendee {
  userId: string
  field: string
  streams: number
  /** Whether others shall know of it, and whether they do, as far as Redis has answered. */
  here: boolean
  told: boolean
  /** Whether they are being told. */
  telling: boolean
  /** Runs while no stream is open. */
  grace?: NodeJS.Timeout | undefined
}

/** How many chats are renewed at a time. */
const CHATS_AT_ONCE = 100

/** Who has a chat open on this instance. All others know of it by a field of the chat's state for each user, with a lease. */
export class Presence {
  readonly #options: PresenceContext & { store: StateStore }
  /** By channel and user. */
  readonly #chats = new Map<string, Map<string, Attendee>>()
  readonly #renewal: RepeatingTimer
  #renewing = false
  #closed = false

  /** Throws `RT_STATE_UNAVAILABLE`. */
  constructor ({ store, ...options }: PresenceContext) {
    if (store === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
    this.#options = { ...options, store }
    this.#renewal = new RepeatingTimer(Math.ceil(options.leaseMs / 3), () => this.#renewAll())
  }

  /** Counts a stream in until it closes, if it is known whose it is. */
  add (chatId: string, stream: Stream): void {
    const { userId } = stream
    if (userId === undefined || stream.closed) return
    const channel = getChatChannel(chatId)
    const attendee = this.#attendee(channel, userId)
    clearTimeout(attendee.grace)
    attendee.streams++
    attendee.here = true
    stream.onClose(() => this.#leave(channel, attendee))
    this.#tell(channel, attendee)
  }

  /** Lets a user leave at once, whatever he has open. */
  remove (chatId: string, userId: string): void {
    const channel = getChatChannel(chatId)
    const attendee = this.#chats.get(channel)?.get(userId)
    if (attendee !== undefined) this.#end(channel, attendee)
  }

  /** Puts back what is gone although it should be there: Redis has lost it, or took this instance for dead. */
  restore (chatId: string, userId: string): void {
    const channel = getChatChannel(chatId)
    const attendee = this.#chats.get(channel)?.get(userId)
    if (attendee?.told !== true || attendee.telling) return
    attendee.told = false
    // All are gone at once, and all instances notice at once.
    setTimeout(() => this.#tell(channel, attendee), Math.random() * timing.resyncSpread).unref()
  }

  /** Leaves all fields to their leases: whoever comes back elsewhere before they run out was never away. */
  close (): void {
    this.#closed = true
    this.#renewal.stop()
    for (const attendees of this.#chats.values()) for (const { grace } of attendees.values()) clearTimeout(grace)
    this.#chats.clear()
  }

  #attendee (channel: string, userId: string): Attendee {
    const { instanceId } = this.#options
    const attendees = this.#chats.get(channel) ?? new Map<string, Attendee>()
    this.#chats.set(channel, attendees)
    const attendee = attendees.get(userId) ?? { userId, field: attendanceField(instanceId, userId), streams: 0, here: true, told: false, telling: false }
    attendees.set(userId, attendee)
    this.#renewal.start()
    return attendee
  }

  #leave (channel: string, attendee: Attendee): void {
    attendee.streams--
    if (this.#closed || attendee.streams > 0) return
    attendee.grace = setTimeout(() => this.#end(channel, attendee), this.#options.graceMs).unref()
  }

  #end (channel: string, attendee: Attendee): void {
    clearTimeout(attendee.grace)
    attendee.here = false
    this.#tell(channel, attendee)
  }

  /** Tells what is so, one command after another. What fails is tried again with the next renewal. */
  async #tell (channel: string, attendee: Attendee): Promise<void> {
    if (attendee.telling) return
    attendee.telling = true
    while (attendee.told !== attendee.here && !this.#closed && await this.#change(channel, attendee)) { /* it may have changed meanwhile */ }
    attendee.telling = false
    if (!attendee.here && !attendee.told) this.#forget(channel, attendee)
  }

  /** Resolves with whether Redis has answered. */
  async #change (channel: string, attendee: Attendee): Promise<boolean> {
    const { store, leaseMs } = this.#options
    const { field, here } = attendee
    const answered = await this.#try(store.change(channel, here ? { operation: 'set', field, value: '', leaseMs } : { operation: 'delete', field }))
    if (answered !== undefined) attendee.told = here
    return answered !== undefined
  }

  /** Resolves with nothing where Redis has not answered. */
  async #try<T> (answer: Promise<T>): Promise<T | undefined> {
    try {
      const answered = await answer
      logRecovered(this.#options.log, TELLING)
      return answered
    } catch (error) {
      if (!this.#closed) logRepeated(this.#options.log, TELLING, { reason: (error as Error).message })
      return undefined
    }
  }

  async #renewAll (): Promise<void> {
    // While Redis is away, the renewal before still waits for it.
    if (this.#renewing) return
    this.#renewing = true
    const chats = [...this.#chats]
    while (chats.length > 0) await Promise.all(chats.splice(0, CHATS_AT_ONCE).map(([channel, attendees]) => this.#renew(channel, [...attendees.values()])))
    this.#renewing = false
  }

  async #renew (channel: string, attendees: Attendee[]): Promise<void> {
    const { store, leaseMs } = this.#options
    const known = attendees.filter(({ here, told }) => here && told)
    if (known.length > 0) {
      const renewed = await this.#try(store.renew(channel, known.map(({ field }) => field), leaseMs))
      if (renewed === undefined) return
      const gone = new Set(renewed.gone)
      for (const attendee of known) if (gone.has(attendee.field)) attendee.told = false
    }
    await Promise.all(attendees.map((attendee) => this.#tell(channel, attendee)))
  }

  #forget (channel: string, attendee: Attendee): void {
    const attendees = this.#chats.get(channel)
    // By now another one may have its place.
    if (attendees?.get(attendee.userId) !== attendee) return
    attendees.delete(attendee.userId)
    if (attendees.size > 0) return
    this.#chats.delete(channel)
    if (this.#chats.size === 0) this.#renewal.stop()
  }
}

/** Who is in a chat, on whichever instance, sorted. Rejects with `RT_CHAT_ID_INVALID`, `RT_STATE_UNAVAILABLE` or `RT_LOG_UNAVAILABLE`. */
export async function readPresence (store: StateStore | undefined, chatId: string): Promise<string[]> {
  const channel = getChatChannel(chatId)
  if (store === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
  const { fields, doubtful } = await store.read(channel)
  const users = new Set<string>()
  // Nothing was known before, so all is read.
  for (const field of (fields as Map<string, Field>).keys()) {
    const userId = attendeeOf(field)
    if (userId !== undefined && doubtful?.has(field) !== true) users.add(userId)
  }
  return [...users].sort()
}
