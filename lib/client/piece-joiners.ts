import type { RealtimeChat } from './chat.ts'
import { PieceJoiner, type BotMessageHandler } from './piece-joiner.ts'

/** How many bot messages of a chat are remembered. */
const MOST_MESSAGES = 256

/** The bot messages of a chat, each with a joiner of its own. */
export class PieceJoiners {
  readonly #chat: RealtimeChat
  readonly #handler: BotMessageHandler
  /** The one with the oldest event comes first. */
  readonly #joiners = new Map<string, PieceJoiner>()

  constructor (chat: RealtimeChat, handler: BotMessageHandler) {
    this.#chat = chat
    this.#handler = handler
  }

  receive (...received: Parameters<BotMessageHandler>): void {
    const [{ id, status }] = received
    const known = this.#joiners.get(id)
    // Its end was passed on already, after a reset.
    if (known?.isEnded === true && status !== 'streaming') return
    const joiner = known === undefined || known.isEnded ? new PieceJoiner(this.#chat, id, this.#handler) : known
    this.#add(id, joiner)
    joiner.receive(...received)
  }

  /** Requests a bot message from its beginning, whatever was received of it. */
  restart (id: string): void {
    this.#joiners.get(id)?.close()
    const joiner = new PieceJoiner(this.#chat, id, this.#handler)
    this.#add(id, joiner)
    joiner.check()
  }

  /** Finds out which bot messages have ended, since their ends may be among the events that were lost. */
  check (): void {
    for (const joiner of this.#joiners.values()) joiner.check()
  }

  close (): void {
    for (const [id, joiner] of this.#joiners) this.#remove(id, joiner)
  }

  #add (id: string, joiner: PieceJoiner): void {
    this.#joiners.delete(id)
    this.#joiners.set(id, joiner)
    if (this.#joiners.size > MOST_MESSAGES) {
      this.#remove(...this.#joiners.entries().next().value as [string, PieceJoiner])
    }
  }

  #remove (id: string, joiner: PieceJoiner): void {
    this.#joiners.delete(id)
    joiner.close()
  }
}
