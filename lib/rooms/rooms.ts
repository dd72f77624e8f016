import type { Logger } from '../logger.ts'
import { getChatChannel } from '../pubsub/channel.ts'
import type { LiveFeed } from '../pubsub/provider.ts'
import { Room } from './room.ts'

/** The chats that somebody on this instance listens to. */
export class Rooms {
  readonly #rooms = new Map<string, { room: Room, unfollow: () => void }>()
  readonly #feed: LiveFeed
  readonly #log: Logger
  readonly #retryMs: number

  constructor (feed: LiveFeed, { log, retryMs }: { log: Logger, retryMs: number }) {
    this.#feed = feed
    this.#log = log
    this.#retryMs = retryMs
  }

  find (chatId: string): Room | undefined {
    return this.#rooms.get(chatId)?.room
  }

  /** The room of a chat, which from now on is followed until nobody is in it. Throws `RT_CHAT_ID_INVALID` or `RT_CLOSED`. */
  enter (chatId: string): Room {
    const found = this.find(chatId)
    if (found !== undefined) return found
    const room = new Room(chatId, { log: this.#log, retryMs: this.#retryMs, onEmpty: () => this.#drop(room) })
    this.#rooms.set(chatId, { room, unfollow: this.#feed.follow(getChatChannel(chatId), room) })
    return room
  }

  /** How many chats are listened to here, and for how many of them events of other instances arrive now. */
  stats (): { rooms: number, live: number } {
    const live = [...this.#rooms.values()].filter(({ room }) => room.isLive).length
    return { rooms: this.#rooms.size, live }
  }

  /** Ends all streams and forgets all handlers. */
  close (): void {
    for (const { room } of this.#rooms.values()) {
      this.#drop(room)
      room.close()
    }
  }

  #drop (room: Room): void {
    const entry = this.#rooms.get(room.chatId)
    // A room that was dropped before: by now another one may have its place.
    if (entry?.room !== room) return
    this.#rooms.delete(room.chatId)
    entry.unfollow()
  }
}
