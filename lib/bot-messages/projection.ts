import { botMessageIdOf, botMessage, fieldOf } from './fields.ts'
import type { RealtimeError } from '../errors.ts'
import { parseJson } from '../core/json.ts'
import type { Field } from '../pubsub/state-store.ts'
import { encodeFrame } from '../sse/frame.ts'
import type { StateProjection, ProjectedRoom } from '../rooms/state-projection.ts'
import { timing } from '../core/timing.ts'
import type { Envelope } from '../pubsub/event-log.ts'

/** How many ended bot messages are remembered. */
const MOST_ENDED = 256

/** Sends the bot messages in progress of a chat to its streams. */
export class BotMessageProjection implements StateProjection {
  readonly #room: ProjectedRoom
  readonly #interrupt: (chatId: string, id: string, text: string) => Promise<void>
  /** The ids of bot messages whose final event was read from the log. The state may be older and still contain them. */
  readonly #ended = new Set<string>()
  /**
   * The bot messages whose text Redis has lost, with the text that was already sent. An entry stays until the producer
   * writes the text again, or the bot message ends.
   */
  readonly #lost = new Map<string, string>()

  /** The final event of a bot message, as read from the log. */
  readonly event = {
    name: 'bot_message',
    receive: ({ json }: Envelope): void => {
      const id = idIn(json)
      if (id === undefined) return
      this.#ended.add(id)
      if (this.#ended.size > MOST_ENDED) this.#ended.delete(this.#ended.values().next().value as string)
    }
  }

  /** `interrupt` ends a bot message whose producer has died, unless another instance has ended it. */
  constructor (room: ProjectedRoom, interrupt: (chatId: string, id: string, text: string) => Promise<void>) {
    this.#room = room
    this.#interrupt = interrupt
  }

  field (name: string, after: Field | undefined, before: Field | undefined): void {
    const id = botMessageIdOf(name)
    if (id === undefined) return
    // A text never becomes shorter. If it is empty again, Redis has lost it.
    const isLost = after?.value === '' && before !== undefined && before.value !== ''
    if (isLost) this.#lost.set(id, before.value)
    else if (after?.value !== '') this.#lost.delete(id)
    // If the field was deleted, the log has the final event, unless the whole log was lost.
    if (after === undefined || this.#ended.has(id)) return
    if (!isLost && after.value !== before?.value) {
      const at = before !== undefined && after.value.startsWith(before.value) ? before.value.length : 0
      this.#room.write(this.#piece(id, at, this.#textOf(id, after).slice(at)))
    }
    if (after.expired) this.#finalize(id)
  }

  snapshot (): Buffer[] {
    return [...this.#room.fields].flatMap(([name, field]) => {
      const id = botMessageIdOf(name)
      return id === undefined || this.#ended.has(id) ? [] : [this.#piece(id, 0, this.#textOf(id, field))]
    })
  }

  #textOf (id: string, { value }: Field): string {
    return value === '' ? this.#lost.get(id) ?? '' : value
  }

  #piece (id: string, at: number, text: string): Buffer {
    return encodeFrame({
      event: 'bot_message', json: JSON.stringify(botMessage(this.#room.chatId, { id, status: 'streaming', at, text }))
    })
  }

  /** Ends a bot message whose producer has died. Every instance tries; only the first one succeeds. */
  async #finalize (id: string): Promise<void> {
    const { fields, chatId } = this.#room
    const field = fields.get(fieldOf(id))
    if (field?.expired !== true || this.#ended.has(id)) return
    try {
      await this.#interrupt(chatId, id, this.#textOf(id, field))
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
