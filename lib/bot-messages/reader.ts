import { joinChunks, splitChunks } from './chunks.ts'
import { bodyOf, botMessageIdOf, endKeyOf, fieldOf, parseHeader, type FinalEvent } from './fields.ts'
import type { BotMessage, BotMessageChunk, BotMessageFormat } from '../event-types.ts'
import { RealtimeError } from '../errors.ts'
import { parseJson } from '../core/json.ts'
import { getChatChannel } from '../pubsub/names.ts'
import { ReadGate } from '../rooms/read-gate.ts'
import { budgets } from '../core/budgets.ts'
import type { DraftPage, Piece, StateStore } from '../pubsub/state-store.ts'

/** A bot message that is being read: what is known of it, and its content in pieces. */
export interface OpenedBotMessage {
  /** All of the message but its content. */
  readonly head: Omit<BotMessage, 'text' | 'chunks'>
  readonly format: BotMessageFormat
  /** The position from which the content is read. */
  readonly at: number
  /** The content from there to its length when it was opened. Rejects with `RT_LOG_UNAVAILABLE`. */
  contents (): AsyncIterable<string>
}

/** A page of a bot message. */
export interface BotMessagePage extends Pick<OpenedBotMessage, 'head' | 'format'> {
  /** What the chunks are, if that is known. */
  protocol: string | undefined
  length: number
  /** The pieces from a position on. The first one may begin before it. */
  pieces: Piece[]
}

/** Reads bot messages, in progress or ended, in pages of limited size. All readers of an instance share a limit. */
export class BotMessageReader {
  readonly #store: StateStore
  readonly #gate = new ReadGate(budgets.reads)

  constructor (store: StateStore) {
    this.#store = store
  }

  /**
   * Opens a bot message to read its content from a position on, or from the beginning if it is not that long. Resolves
   * with `undefined` if there is no such bot message. Rejects with `RT_CHAT_ID_INVALID` or `RT_LOG_UNAVAILABLE`.
   */
  async open (chatId: string, id: string, from = 0): Promise<OpenedBotMessage | undefined> {
    const read = (at: number): Promise<BotMessagePage | undefined> => this.page(chatId, id, at)
    const first = await read(from)
    if (first === undefined) return undefined
    const { head, format, length, pieces } = first
    if (from > length) return this.open(chatId, id)
    // The content was lost, or was deleted to make room.
    if (from < length && pieces.length === 0) return undefined
    const contents = async function * (): AsyncGenerator<string> {
      for (let [at, page] = [from, pieces]; at < length; page = at < length ? (await read(at))?.pieces ?? [] : []) {
        if (page.length === 0) throw new RealtimeError('RT_BOT_MESSAGE_NOT_FOUND')
        for (const piece of page) {
          if (at < length) yield contentFrom(piece, at, format, length)
          at = piece.end
        }
      }
    }
    return { head, format, at: from, contents }
  }

  /** Reads one page from a position on. Settles as `open` does. */
  async page (chatId: string, id: string, from: number): Promise<BotMessagePage | undefined> {
    const draft = { field: fieldOf(id), key: endKeyOf(id) }
    const channel = getChatChannel(chatId)
    const page = await this.#gate.runWhenFree(budgets.page, () => this.#store.readDraft(channel, draft, from))
    return pageOf(id, page, from)
  }

  /** Reads a whole bot message. Settles as `open` does. */
  async read (chatId: string, id: string): Promise<BotMessage | undefined> {
    const opened = await this.open(chatId, id)
    if (opened === undefined) return undefined
    const contents: string[] = []
    for await (const content of opened.contents()) contents.push(content)
    return { ...opened.head, ...bodyOf(opened.format, contents.join('')) }
  }

  /**
   * The id of the bot message in progress that was started last, of all or of those with a protocol. Rejects with
   * `RT_CHAT_ID_INVALID` or `RT_LOG_UNAVAILABLE`.
   */
  async newest (chatId: string, protocol?: string): Promise<string | undefined> {
    const { fields = new Map() } = await this.#store.read(getChatChannel(chatId))
    let newest: { id: string, startedAt: number } | undefined
    for (const [name, { value, draft, expired }] of fields) {
      const id = botMessageIdOf(name)
      if (id === undefined || draft === undefined || expired) continue
      const header = parseHeader(value)
      if (protocol !== undefined && header.protocol !== protocol) continue
      if (newest === undefined || header.startedAt >= newest.startedAt) newest = { id, startedAt: header.startedAt }
    }
    return newest?.id
  }
}

function pageOf (id: string, { field, event, pieces }: DraftPage, from: number): BotMessagePage | undefined {
  if (field?.draft !== undefined) {
    const { format, protocol, meta } = parseHeader(field.value)
    const head = { id, status: 'streaming' as const, ...meta !== undefined && { meta } }
    return { head, format, protocol, length: field.draft.length, pieces }
  }
  if (event === undefined) return undefined
  const { type, chatId, at, text, chunks, ...head } = parseJson(event) as FinalEvent
  const known = { head, format: chunks === undefined ? 'text' as const : 'chunks' as const, protocol: undefined }
  // The final event repeats nothing of a long bot message.
  if (at > 0) return { ...known, length: at, pieces }
  const { length } = text ?? chunks
  const content = chunks === undefined ? text : joined(chunks)
  return { ...known, length, pieces: length > from ? [{ at: 0, end: length, content }] : [] }
}

/** The content of a piece from a position on. What is beyond `to` was appended later, and is left out. */
export function contentFrom (
  { at, end, content }: Piece, from: number, format: BotMessageFormat, to = Infinity
): string {
  if (from <= at && end <= to) return content
  const [first, last] = [Math.max(0, from - at), to - at]
  return format === 'text' ? content.slice(first, last) : joinChunks(splitChunks(content).slice(first, last))
}

function joined (chunks: readonly BotMessageChunk[]): string {
  return joinChunks(chunks.map((chunk) => JSON.stringify(chunk)))
}
