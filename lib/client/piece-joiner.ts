import type { ChatEvent } from '../event-types.ts'
import { NOT_FOUND, requestRest, type Rest } from './bot-message-rest.ts'
import type { EventInfo, RealtimeChat } from './chat.ts'
import { RepeatedRequest } from './repeated-request.ts'

/** Called with a piece of a bot message, or with its end. */
export type BotMessageHandler = (event: ChatEvent<'bot_message'>, info: EventInfo) => unknown

type Received = Parameters<BotMessageHandler>

/** How many characters of pieces are held while earlier ones are requested. */
const MOST_HELD = 1_048_576

/**
 * Passes on the pieces of one bot message. If a piece begins beyond the content so far, the rest is requested first,
 * and later pieces are held.
 */
export class PieceJoiner {
  isEnded = false
  readonly #chatId: string
  readonly #id: string
  readonly #request: RepeatedRequest
  readonly #handler: BotMessageHandler
  /** The length of the content that was passed on. */
  #length = 0
  /** Pieces that end here or before were part of a response. */
  #skipTo = -1
  /** Pieces that arrived while the rest is requested. */
  #held: Received[] | undefined
  #heldSize = 0
  #isText = true
  /** Set if events were lost while a request was under way: its response may be older. */
  #checksAgain = false

  constructor (chat: RealtimeChat, id: string, handler: BotMessageHandler) {
    this.#chatId = chat.id
    this.#id = id
    this.#request = new RepeatedRequest(chat)
    this.#handler = handler
  }

  receive (...received: Received): void {
    const [event] = received
    if (this.#held !== undefined) {
      this.#hold(received)
    } else if (event.at > this.#length) {
      this.#requestRest(received)
    } else if (event.status !== 'streaming' || endOf(event) > this.#skipTo) {
      this.#pass(...received)
    }
  }

  /** Finds out whether the bot message has ended, since its end may be among the events that were lost. */
  check (): void {
    if (this.#held !== undefined) this.#checksAgain = true
    else if (!this.isEnded) this.#requestRest()
  }

  /** Ends the request. The pieces that waited for it are passed on as they are. */
  close (): void {
    const held = this.#held ?? []
    this.#held = undefined
    this.#request.close()
    for (const received of held) this.#pass(...received)
  }

  /** If a piece is dropped, the next one begins beyond the content, so the rest is requested again. */
  #hold (received: Received): void {
    const held = this.#held ??= []
    held.push(received)
    this.#heldSize += sizeOf(received)
    while (this.#heldSize > MOST_HELD && held.length > 1) this.#heldSize -= sizeOf(held.shift() as Received)
  }

  #pass (...received: Received): void {
    const [event] = received
    this.#length = endOf(event)
    this.#isText = event.chunks === undefined
    this.isEnded = event.status !== 'streaming'
    this.#handler(...received)
  }

  /** Requests what comes before a piece. Without a piece, finds out whether the bot message has ended. */
  async #requestRest (first?: Received): Promise<void> {
    const held: Received[] = this.#held = []
    this.#heldSize = 0
    if (first !== undefined) this.#hold(first)
    const rest = await requestRest(this.#request, this.#id, this.#length)
    if (this.#held !== held) return // It was closed.
    this.#held = undefined
    if (rest !== undefined && endOf(rest) > this.#length) {
      this.#skipTo = endOf(rest)
      this.#pass(this.#event('streaming', rest), {})
    } else if (first !== undefined) {
      // The server does not have the rest: the piece goes on as it is, so that the app notices the gap.
      this.#pass(...held.shift() as Received)
    }
    const isCheck = first === undefined && held.length === 0
    // A server that refuses a bot message of which nothing was received will send nothing of it.
    const end = rest ?? (this.#length === 0 ? NOT_FOUND : undefined)
    if (isCheck && end !== undefined && end.status !== 'streaming') this.#end(end)
    for (const received of held) this.receive(...received)
    if (!this.#checksAgain) return
    this.#checksAgain = false
    this.check()
  }

  #end ({ status, meta, extra, error, chunks }: Rest): void {
    const isText = this.#isText && chunks === undefined
    const end = { at: this.#length, ...isText ? { text: '' } : { chunks: [] } }
    const event = this.#event(status, { status, ...meta !== undefined && { meta }, ...end })
    this.#pass({ ...event, ...extra !== undefined && { extra }, ...error !== undefined && { error } }, {})
  }

  #event (status: Rest['status'], { meta, at = 0, text = '', chunks }: Rest): ChatEvent<'bot_message'> {
    const head = { type: 'bot_message' as const, chatId: this.#chatId, id: this.#id, status }
    return { ...head, ...meta !== undefined && { meta }, at, ...chunks === undefined ? { text } : { chunks } }
  }
}

/** Where a piece ends. */
function endOf ({ at = NaN, text, chunks }: Pick<Rest, 'at' | 'text' | 'chunks'>): number {
  return at + ((text ?? chunks)?.length ?? NaN)
}

/** How many characters a piece takes. */
function sizeOf ([event]: Received): number {
  return JSON.stringify(event).length
}
