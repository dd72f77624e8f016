import type { BotMessageChunk, BotMessagePiece } from '../event-types.ts'
import { Attempt, SILENCE_MS } from './attempt.ts'
import { Backoff } from './backoff.ts'
import type { RealtimeChat } from './chat.ts'
import { isObject } from './shape.ts'

/** What the server knows of a bot message. Without content if it does not exist (any more). */
export type Rest = Pick<BotMessagePiece, 'status' | 'extra' | 'error' | 'meta'> &
  { at?: number, text?: string | undefined, chunks?: BotMessageChunk[] | undefined }

const NOT_FOUND: Rest = { status: 'interrupted' }

/** Requests the rest of a bot message. */
export class BotMessageRequest {
  readonly #chat: RealtimeChat
  readonly #id: string
  #attempt: Attempt | undefined
  #backoff = new Backoff()
  #closed = false

  constructor (chat: RealtimeChat, id: string) {
    this.#chat = chat
    this.#id = id
  }

  /**
   * Resolves with the content from a position on, and `undefined` if the server refuses or after `close`. Retries any
   * other failure. Never rejects.
   */
  async send (at: number): Promise<Rest | undefined> {
    while (!this.#closed) {
      try {
        return await this.#try(at)
      } catch {
        // Retry, whatever broke the request.
      } finally {
        this.#attempt?.abort()
      }
      if (!this.#closed) await this.#backoff.wait(this.#backoff.next())
    }
    return undefined
  }

  close (): void {
    this.#closed = true
    this.#attempt?.abort()
    this.#backoff.abort()
  }

  async #try (at: number): Promise<Rest | undefined> {
    const attempt = this.#attempt = new Attempt(SILENCE_MS)
    attempt.renew()
    const response = await this.#chat.request(
      `/bot-messages/${encodeURIComponent(this.#id)}?at=${at}`, attempt.signal
    )
    const { status } = response
    if (status >= 500 || status === 429) throw new Error(`The server answered ${status}`)
    if (status !== 200) return status === 404 ? NOT_FOUND : undefined
    const body: unknown = JSON.parse(await textOf(response, attempt))
    this.#backoff.reset()
    return isObject(body) ? body as unknown as Rest : NOT_FOUND // The fields are not checked, as in events.
  }
}

async function textOf (response: Response, attempt: Attempt): Promise<string> {
  const decoder = new TextDecoder()
  const parts: string[] = []
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return parts.join('')
    attempt.renew()
    parts.push(decoder.decode(value, { stream: true }))
  }
}
