import { whenAborted } from '../../client/listeners.ts'
import type { MessageStream } from './message-stream.ts'

/**
 * An id. That of a bot message that was asked for is not known at first, and never if the request has failed. The
 * promise never rejects.
 */
type Id = string | Promise<string | undefined>

/** The ids of the bot messages that a page streams. */
export class StreamedIds {
  readonly #ids = new Map<string, { id: Id }>()

  /** Adds the id of a bot message, until its stream has ended and the id is known. */
  add (chatId: string, { signal }: MessageStream, id: Id): void {
    const added = { id }
    this.#ids.set(chatId, added)
    whenAborted(signal, async () => {
      await id
      if (this.#ids.get(chatId) === added) this.#ids.delete(chatId)
    })
  }

  /** The id that was added last; `undefined` if the page streams nothing in the chat. */
  in (chatId: string): Id | undefined {
    return this.#ids.get(chatId)?.id
  }
}
