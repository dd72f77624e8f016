import { contentFrom, type BotMessagePage, type BotMessageReader, type OpenedBotMessage } from './reader.ts'
import { fieldOf } from './fields.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import { timing } from '../core/timing.ts'
import type { ChatEventHandler } from '../event-types.ts'
import { RealtimeError } from '../errors.ts'
import { getChatChannel } from '../pubsub/names.ts'
import type { Piece, StateStore } from '../pubsub/state-store.ts'

export interface BotMessageFollowerContext {
  store: StateStore
  reader: BotMessageReader
  /** Follows a chat. Returns a function that stops. Throws `RT_CHAT_ID_INVALID` or `RT_CLOSED`. */
  onChatEvent (chatId: string, handler: ChatEventHandler): () => void
}

/** How often a bot message may be missing in a row, one check each, until it counts as interrupted. */
const MOST_MISSING = 5

/**
 * Follows one bot message from its beginning to its end, on any instance. Pieces that arrive while the consumer is busy
 * are not kept: it reads them later, in pages.
 */
export class BotMessageFollower {
  readonly #chatId: string
  readonly #id: string
  readonly #reader: BotMessageReader
  readonly #stop: (() => void)[]
  /** The latest piece that was broadcast. */
  #latest: Piece | undefined
  /** True if the bot message may have changed since it was last read. */
  #isChanged = true
  #isClosed = false
  readonly whenClosed: Promise<void>
  #wake: () => void = () => {}

  constructor (chatId: string, id: string, { store, reader, onChatEvent }: BotMessageFollowerContext) {
    this.#chatId = chatId
    this.#id = id
    this.#reader = reader
    const field = fieldOf(id)
    // A broadcast can be lost.
    const poll = new RepeatingTimer(timing.idleCheck, () => this.#change())
    this.#stop = [
      // Also lets this instance follow the chat, so that broadcasts arrive and an expired lease is noticed.
      onChatEvent(chatId, (event) => { if (event.type === 'bot_message' && event.id === id) this.#change() }),
      store.watch(getChatChannel(chatId), (change) => {
        if (change.field !== field) return
        this.#latest = change.piece
        this.#change()
      }),
      () => poll.stop()
    ]
    this.whenClosed = new Promise((resolve) => { this.#stop.push(resolve) })
    poll.start()
  }

  /**
   * Yields the content, and returns how the bot message has ended; `undefined` if the follower was closed before.
   * Throws `RT_BOT_MESSAGE_NOT_FOUND` if the content was lost, or `RT_CLOSED`.
   */
  async * contents (): AsyncGenerator<string, OpenedBotMessage['head'] | undefined> {
    let missing = 0
    for (let at = 0; !this.#isClosed;) {
      await this.#nextChange()
      const latest = this.#latest
      if (latest !== undefined && latest.at <= at && latest.end > at) {
        yield contentFrom(latest, at, 'chunks')
        at = latest.end
        continue
      }
      const known = await this.#read(at)
      if (known === 'unavailable') continue
      missing = known === undefined ? missing + 1 : 0
      if (missing === MOST_MISSING) return { id: this.#id, status: 'interrupted' }
      if (known === undefined) continue
      const { head, length, pieces } = known
      for (const piece of pieces) {
        yield contentFrom(piece, at, 'chunks')
        at = piece.end
      }
      if (at < length && pieces.length > 0) {
        this.#isChanged = true // There is another page.
      } else if (head.status !== 'streaming') {
        if (at < length) throw new RealtimeError('RT_BOT_MESSAGE_NOT_FOUND')
        return head
      }
    }
    return undefined
  }

  close (): void {
    this.#isClosed = true
    for (const stop of this.#stop) stop()
    this.#change()
  }

  /** Reads a page. A later check tries again if that is not possible now. */
  async #read (at: number): Promise<BotMessagePage | undefined | 'unavailable'> {
    try {
      return await this.#reader.page(this.#chatId, this.#id, at)
    } catch (error) {
      if ((error as RealtimeError).code === 'RT_LOG_UNAVAILABLE') return 'unavailable'
      throw error
    }
  }

  #change (): void {
    this.#isChanged = true
    this.#wake()
  }

  async #nextChange (): Promise<void> {
    if (!this.#isChanged) await new Promise<void>((resolve) => { this.#wake = resolve })
    this.#isChanged = false
  }
}
