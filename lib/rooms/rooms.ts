import { outsideRequests } from '../core/async-context.ts'
import { RealtimeError } from '../errors.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import { Room, type RoomContext } from './room.ts'
import { timing } from '../core/timing.ts'
import type { ChannelFeed } from '../pubsub/channel-feed.ts'
import type { EventLog } from '../pubsub/event-log.ts'

export interface RoomsOptions extends RoomContext {
  /** The channel of a chat. Throws `RT_CHAT_ID_INVALID`. */
  channelOf (chatId: string): string
  feed: ChannelFeed
  /** How many chats may be followed at the same time. */
  maxRooms: number
}

interface Entry {
  room: Room
  unfollow: () => void
  /** Runs while nobody is in the room. */
  grace?: NodeJS.Timeout | undefined
}

/** The chats that somebody on this instance listens to. */
export class Rooms {
  /** By chat. The one whose idle check is due next comes first. */
  readonly #rooms = new Map<string, Entry>()
  readonly #options: RoomsOptions
  readonly #idleCheck = new RepeatingTimer(timing.idleCheck, () => this.#reconcile())

  constructor (options: RoomsOptions) {
    this.#options = options
  }

  find (chatId: string): Room | undefined {
    return this.#rooms.get(chatId)?.room
  }

  /** The room of a chat, which from now on is followed until nobody is in it. Throws `RT_CHAT_ID_INVALID`, `RT_TOO_MANY_ROOMS` or `RT_CLOSED`. */
  enter (chatId: string): Room {
    const entry = this.#rooms.get(chatId) ?? outsideRequests(() => this.#open(chatId))
    clearTimeout(entry.grace)
    return entry.room
  }

  /** The rooms of several chats. Throws as `enter` does; then none is kept for this. */
  enterAll (chatIds: readonly string[]): Room[] {
    const rooms: Room[] = []
    try {
      for (const chatId of chatIds) rooms.push(this.enter(chatId))
      return rooms
    } catch (error) {
      for (const room of rooms) room.leave()
      throw error
    }
  }

  /** How many chats are listened to here, and for how many of them events of other instances arrive now. */
  stats (): { rooms: number, live: number } {
    const rooms = [...this.#rooms.values()].filter(({ room }) => !room.isEmpty)
    return { rooms: rooms.length, live: rooms.filter(({ room }) => room.chatLog.inSync).length }
  }

  /** Ends all streams and forgets all handlers. */
  close (): void {
    this.#idleCheck.stop()
    for (const entry of this.#rooms.values()) this.#drop(entry)
  }

  #open (chatId: string): Entry {
    const { feed, maxRooms, channelOf, eventLog: events } = this.#options
    const channel = channelOf(chatId)
    if (this.#rooms.size >= maxRooms) throw new RealtimeError('RT_TOO_MANY_ROOMS')
    const room = new Room(chatId, channel, this.#options, () => this.#dropLater(entry))
    const entry: Entry = { room, unfollow: feed.follow(channel, room.chatLog) }
    this.#rooms.set(chatId, entry)
    room.chatLog.open()
    if (events !== undefined) this.#idleCheck.start()
    return entry
  }

  /** Not at once: a client that drops comes back soon, and finds the last frames still here. */
  #dropLater (entry: Entry): void {
    clearTimeout(entry.grace)
    entry.grace = setTimeout(() => this.#drop(entry), timing.roomGrace).unref()
  }

  #drop (entry: Entry): void {
    clearTimeout(entry.grace)
    const { room, unfollow } = entry
    // By now another one may have its place.
    if (this.#rooms.get(room.chatId) !== entry) return
    this.#rooms.delete(room.chatId)
    unfollow()
    room.close()
  }

  /**
   * So many rooms that checking them costs little, and the next ones the next time. No iterator stays between two checks: it
   * would keep the map as it was then, with every room that was dropped since.
   */
  #nextToCheck (): Room[] {
    const next: Entry[] = []
    const most = Math.max(timing.idleCheckMost, this.#rooms.size / timing.idleCheckRounds)
    for (const entry of this.#rooms.values()) {
      next.push(entry)
      if (next.length >= most) break
    }
    for (const entry of next) {
      this.#rooms.delete(entry.room.chatId)
      this.#rooms.set(entry.room.chatId, entry)
    }
    return next.map(({ room }) => room)
  }

  /** Compares quiet rooms with their logs: the last event before a silence can be lost, and no next one shows the hole. */
  async #reconcile (): Promise<void> {
    const rooms = this.#nextToCheck()
    for (const room of rooms) room.pollState()
    const quiet = rooms.filter((room) => room.chatLog.takeQuiet())
    if (quiet.length === 0) return
    try {
      const heads = await (this.#options.eventLog as EventLog).heads(quiet.map(({ chatId }) => this.#options.channelOf(chatId)))
      for (const [index, room] of quiet.entries()) room.chatLog.reconcile(heads[index])
    } catch {
      // Redis is away: when it is back, all rooms read their logs anyway.
    }
  }
}
