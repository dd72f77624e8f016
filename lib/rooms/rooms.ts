import { outsideRequests } from '../core/async-context.ts'
import { RealtimeError } from '../errors.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import { Room, type RoomContext } from './room.ts'
import { timing } from '../core/timing.ts'
import { getChatChannel } from '../pubsub/names.ts'
import type { ChannelFeed } from '../pubsub/channel-feed.ts'
import type { EventLog } from '../pubsub/event-log.ts'

interface RoomsOptions extends RoomContext {
  feed: ChannelFeed
  /** Maximum number of rooms, including empty ones that are not removed yet. */
  maxRooms: number
}

interface Entry {
  room: Room
  /** Unsubscribes from the channel of the chat. */
  unfollow: () => void
  /** The timer that removes the room. It runs while the room is empty. */
  removal?: NodeJS.Timeout | undefined
}

/** All rooms of this instance, one for each chat that has streams or handlers here. */
export class Rooms {
  /** Rooms by chat id, ordered by their next idle check. */
  readonly #rooms = new Map<string, Entry>()
  readonly #options: RoomsOptions
  readonly #idleCheck = new RepeatingTimer(timing.idleCheck, () => this.#reconcile())

  /** All rooms share it, and most of the memory of an idle chat is such functions. */
  readonly #onEmpty = (room: Room): void => {
    const entry = this.#rooms.get(room.chatId)
    // The room may have been removed, or replaced.
    if (entry?.room === room) this.#removeLater(entry)
  }

  constructor (options: RoomsOptions) {
    this.#options = options
  }

  find (chatId: string): Room | undefined {
    return this.#rooms.get(chatId)?.room
  }

  /**
   * Returns the room of a chat and opens it if necessary. The caller adds a stream or handler to it, or calls
   * `reportIfEmpty`. Throws `RT_CHAT_ID_INVALID`, `RT_TOO_MANY_ROOMS` or `RT_CLOSED`.
   */
  enter (chatId: string): Room {
    const entry = this.#rooms.get(chatId) ?? outsideRequests(() => this.#open(chatId))
    clearTimeout(entry.removal)
    return entry.room
  }

  /** Returns the rooms of several chats. Throws as `enter` does; in that case no room is kept open for this call. */
  enterAll (chatIds: readonly string[]): Room[] {
    const rooms: Room[] = []
    try {
      for (const chatId of chatIds) rooms.push(this.enter(chatId))
      return rooms
    } catch (error) {
      for (const room of rooms) room.reportIfEmpty()
      throw error
    }
  }

  /**
   * `rooms` is the number of chats that have streams or handlers here. `live` is the number of them that currently
   * receive the events of other instances.
   */
  stats (): { rooms: number, live: number } {
    const used = [...this.#rooms.values()].filter(({ room }) => !room.isEmpty)
    return { rooms: used.length, live: used.filter(({ room }) => room.chatLog.inSync).length }
  }

  /** Ends all streams and removes all handlers. */
  close (): void {
    this.#idleCheck.stop()
    for (const entry of this.#rooms.values()) this.#remove(entry)
  }

  #open (chatId: string): Entry {
    const { feed, maxRooms, eventLog } = this.#options
    const channel = getChatChannel(chatId)
    if (this.#rooms.size >= maxRooms) throw new RealtimeError('RT_TOO_MANY_ROOMS')
    const room = new Room(chatId, channel, this.#options, this.#onEmpty)
    const entry: Entry = { room, unfollow: feed.follow(channel, room.chatLog) }
    this.#rooms.set(chatId, entry)
    room.chatLog.sync()
    if (eventLog !== undefined) this.#idleCheck.start()
    return entry
  }

  /**
   * Removes an empty room after a delay: a client that disconnects usually reconnects soon, and the room still has the
   * last events for it.
   */
  #removeLater (entry: Entry): void {
    clearTimeout(entry.removal)
    entry.removal = setTimeout(() => this.#remove(entry), timing.roomGrace).unref()
  }

  #remove (entry: Entry): void {
    clearTimeout(entry.removal)
    const { room, unfollow } = entry
    this.#rooms.delete(room.chatId)
    unfollow()
    room.close()
  }

  /**
   * Returns the next rooms to check and moves them to the end of the map. They are few enough to keep a check cheap.
   * (An iterator that is kept from check to check would keep removed rooms in memory.)
   */
  #nextToCheck (): Room[] {
    const next: Entry[] = []
    const count = Math.max(timing.idleCheckMax, this.#rooms.size / timing.idleCheckRounds)
    for (const entry of this.#rooms.values()) {
      next.push(entry)
      if (next.length >= count) break
    }
    for (const entry of next) {
      this.#rooms.delete(entry.room.chatId)
      this.#rooms.set(entry.room.chatId, entry)
    }
    return next.map(({ room }) => room)
  }

  /**
   * Compares the state of each room with the store, and quiet rooms with their logs. The last event before a silence
   * can be lost, and no later event would reveal that.
   */
  async #reconcile (): Promise<void> {
    const rooms = this.#nextToCheck()
    for (const room of rooms) room.pollState()
    const quiet = rooms.filter((room) => room.chatLog.checkQuiet())
    if (quiet.length === 0) return
    try {
      // Without a log, this timer does not run.
      const heads = await (this.#options.eventLog as EventLog).heads(quiet.map(({ chatId }) => getChatChannel(chatId)))
      for (const [index, room] of quiet.entries()) room.chatLog.reconcile(heads[index])
    } catch {
      // Redis is unavailable. All rooms read their logs once the subscription is restored.
    }
  }
}
