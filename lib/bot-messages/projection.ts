import { botMessageIdOf, fieldOf, parseHeader, pieceJson, type BotMessageHeader, type EndingContent } from './fields.ts'
import type { RealtimeError } from '../errors.ts'
import { budgets } from '../core/budgets.ts'
import { parseJson } from '../core/json.ts'
import { isSameDraft, type Draft, type Field, type Piece } from '../pubsub/state-store.ts'
import { encodeFrame } from '../sse/frame.ts'
import type { StateProjection, ProjectedRoom } from '../rooms/state-projection.ts'
import { timing } from '../core/timing.ts'
import type { Envelope } from '../pubsub/event-log.ts'

/** How many ended bot messages are remembered. */
const MOST_ENDED = 256

/** Ends a bot message whose producer has died, unless another instance has ended it. Rejects as `publish` does. */
export type Interrupt = (
  chatId: string, id: string, header: BotMessageHeader, content: EndingContent
) => Promise<void>

/** Sends the bot messages in progress of a chat to its streams. */
export class BotMessageProjection implements StateProjection {
  readonly #room: ProjectedRoom
  readonly #interrupt: Interrupt
  // Most chats have no bot messages, and so none of these collections.
  /** The ids of bot messages whose final event was read from the log. The state may be older and still contain them. */
  #ended: Set<string> | undefined
  /**
   * The bot messages of which Redis has lost a part, as they were before. An entry stays until the producer has written
   * as much again, or the bot message ends.
   */
  #lost: Map<string, { header: string, draft: Draft }> | undefined

  constructor (room: ProjectedRoom, interrupt: Interrupt) {
    this.#room = room
    this.#interrupt = interrupt
  }

  /** Remembers the final event of a bot message, as read from the log. */
  receive ({ json }: Envelope): void {
    const id = idIn(json)
    if (id === undefined) return
    const ended = this.#ended ??= new Set()
    ended.add(id)
    if (ended.size > MOST_ENDED) ended.delete(ended.values().next().value as string)
  }

  field (name: string, after: Field | undefined, before: Field | undefined, piece?: Piece): void {
    const id = botMessageIdOf(name)
    if (id === undefined) return
    this.#noteLoss(id, after, before)
    // If the field was deleted, the log has the final event, unless the whole log was lost.
    if (after?.draft === undefined || this.#hasEnded(id)) return
    if (this.#isNew(id, after.draft, before?.draft)) this.#writePiece(id, after, before, piece)
    if (after.expired) this.#finalize(id)
  }

  snapshot (): Buffer[] {
    return [...this.#room.fields].flatMap(([name, field]) => {
      const id = botMessageIdOf(name)
      return id === undefined || field.draft === undefined || this.#hasEnded(id) ? [] : [this.#whole(id, field)]
    })
  }

  #hasEnded (id: string): boolean {
    return this.#ended?.has(id) === true
  }

  /**
   * The content of a bot message never becomes shorter. If it is shorter, Redis has lost a part, and the producer
   * writes that part again.
   */
  #noteLoss (id: string, after: Field | undefined, before: Field | undefined): void {
    const length = after?.draft?.length ?? Infinity
    if (length >= (this.#lost?.get(id)?.draft.length ?? 0)) this.#lost?.delete(id)
    if (before?.draft === undefined || length >= before.draft.length || this.#lost?.has(id)) return
    this.#lost ??= new Map()
    this.#lost.set(id, { header: before.value, draft: before.draft })
  }

  /**
   * Whether readers lack something. While the producer writes a lost part again, they have it already, except after
   * `forget`: then they need all of it.
   */
  #isNew (id: string, after: Draft, before: Draft | undefined): boolean {
    return before === undefined || (this.#lost?.has(id) !== true && !isSameDraft(after, before))
  }

  /** Writes what is new in a bot message. If it is not known, readers get the length and fetch the rest. */
  #writePiece (id: string, after: Field, before: Field | undefined, piece: Piece | undefined): void {
    const header = parseHeader(after.value)
    if (piece !== undefined) return this.#write(id, header, piece.at, piece.content)
    const { draft: { content } } = after as Field & { draft: Draft }
    const known = before?.draft?.content
    if (content !== undefined && known !== undefined && content.startsWith(known)) {
      this.#write(id, header, (before?.draft as Draft).length, content.slice(known.length))
    } else {
      this.#room.write(this.#whole(id, after))
    }
  }

  #write (id: string, header: BotMessageHeader, at: number, content: string): void {
    this.#room.write(this.#frame(id, header, at, content))
  }

  /** The frame with the whole content, or with the length of a long one. */
  #whole (id: string, field: Field): Buffer {
    const { header, draft: { length, content } } = this.#latest(id, field)
    return content === undefined
      ? this.#frame(id, parseHeader(header), length, '')
      : this.#frame(id, parseHeader(header), 0, content)
  }

  /** The bot message before Redis lost a part of it, or as it is now. */
  #latest (id: string, field: Field): { header: string, draft: Draft } {
    return this.#lost?.get(id) ?? { header: field.value, draft: field.draft as Draft }
  }

  /** The frame with a piece. Of a text that takes too much as JSON, readers get the length and fetch the rest. */
  #frame (id: string, header: BotMessageHeader, at: number, content: string): Buffer {
    const json = pieceJson(this.#room.chatId, id, header, at, content)
    const frame = encodeFrame({ event: 'bot_message', json })
    if (frame.length <= budgets.piece || header.format === 'chunks') return frame
    return this.#frame(id, header, at + content.length, '')
  }

  /** Ends a bot message whose producer has died. Every instance tries; only the first one succeeds. */
  async #finalize (id: string): Promise<void> {
    const { fields, chatId } = this.#room
    const field = fields.get(fieldOf(id))
    if (field?.expired !== true || this.#hasEnded(id)) return
    const { header, draft } = this.#latest(id, field)
    // Content that Redis has lost is known only here: readers that have it keep it if the final event repeats it.
    const length = draft.content === undefined ? (field.draft as Draft).length : draft.length
    try {
      await this.#interrupt(chatId, id, parseHeader(header), { length, joined: draft.content })
    } catch (error) {
      if ((error as RealtimeError).code === 'RT_CLOSED') return
      // Redis is unavailable: try again later.
      setTimeout(() => this.#finalize(id), timing.idleCheck).unref()
    }
  }
}

/** The id in a final event. Its data is not trusted: an app can publish any data with the type `bot_message`. */
function idIn (json: string): string | undefined {
  try {
    const { id } = parseJson(json) as { id?: unknown }
    return typeof id === 'string' ? id : undefined
  } catch {
    return undefined
  }
}
