import type { Place } from './delivery.ts'
import { Feed, type FeedEvents, type FeedOptions, type FeedState, type Seat } from './feed.ts'

/**
 * How long the chats of one request may make its URL and its `Last-Event-ID` together. Servers and proxies take
 * 8 kB for a line and 16 kB for all headers, cookies included.
 */
const MOST_CHARACTERS = 6_144
/** What a chat takes beside its id: the names `chat` and `rewind`, six digits, and the longest position. */
const PER_CHAT = 85

/** The state of all connections is the first of these that one of them has. */
const PRECEDENCE: readonly FeedState[] = ['offline', 'connecting', 'open', 'stopped']

/**
 * The events of any number of chats, over as many connections as their requests need. A chat stays on its connection, so that
 * opening or closing one interrupts no other connection. An emptied connection ends; half-empty ones are not merged.
 */
export class ConnectionPool {
  readonly #feeds = new Set<Feed>()
  readonly #options: FeedOptions
  readonly #events: Pick<FeedEvents, 'deliver' | 'state' | 'refused'>
  /** How many chats a request may have, as far as the server has said so. */
  #mostChats = Infinity

  constructor (options: FeedOptions, events: Pick<FeedEvents, 'deliver' | 'state' | 'refused'>) {
    this.#options = options
    this.#events = events
  }

  get (chatId: string): Seat | undefined {
    return this.#feedOf(chatId)?.chats.get(chatId)
  }

  chats (): [chatId: string, seat: Seat][] {
    return [...this.#feeds].flatMap(({ chats }) => [...chats])
  }

  add (chatId: string, place: Place): void {
    const feed = [...this.#feeds].find(({ chats }) => this.#hasRoom([...chats.keys()], chatId)) ?? this.#open()
    feed.add(chatId, place)
  }

  delete (chatId: string): void {
    this.#feedOf(chatId)?.delete(chatId)
  }

  /** Opens the connection of a chat anew. */
  renew (chatId: string): void {
    this.#feedOf(chatId)?.renew()
  }

  /** Comes back now rather than later, also where the server has refused a whole connection. */
  wake (): void {
    for (const feed of this.#feeds) {
      if (feed.state === 'stopped') feed.renew()
      else feed.wake()
    }
  }

  /** Ends all connections, without a further state. */
  close (): void {
    for (const feed of this.#feeds) feed.close()
    this.#feeds.clear()
  }

  #feedOf (chatId: string): Feed | undefined {
    return [...this.#feeds].find(({ chats }) => chats.has(chatId))
  }

  #hasRoom (chats: string[], chatId: string): boolean {
    const length = [...chats, chatId].reduce((sum, id) => sum + encodeURIComponent(id).length + PER_CHAT, 0)
    return chats.length === 0 || (chats.length < this.#mostChats && length <= MOST_CHARACTERS)
  }

  #open (): Feed {
    const feed = new Feed(this.#options, {
      deliver: (delivery) => this.#events.deliver(delivery),
      state: (state) => this.#changed(feed, state),
      refused: (refusal) => this.#events.refused(refusal),
      tooMany: (most) => this.#split(feed, most),
      woke: () => {}
    })
    this.#feeds.add(feed)
    return feed
  }

  #changed (feed: Feed, state: FeedState): void {
    if (state === 'idle') {
      feed.close()
      this.#feeds.delete(feed)
    }
    const states = [...this.#feeds].map(({ state }) => state)
    this.#events.state(PRECEDENCE.find((state) => states.includes(state)) ?? 'idle')
  }

  /** Moves the chats that a request has no room for to other connections. */
  #split (feed: Feed, most: number): void {
    this.#mostChats = Math.min(this.#mostChats, most)
    for (const [chatId, seat] of [...feed.chats].slice(this.#mostChats)) {
      feed.chats.delete(chatId)
      this.add(chatId, seat)
    }
  }
}
