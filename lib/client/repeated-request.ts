import { SILENCE_MS, startAttempt, type Attempt } from './attempt.ts'
import { createBackoff } from './backoff.ts'
import type { RealtimeChat } from './chat.ts'

/** Makes of a response what is needed of it. Must call `renew` whenever data arrives: a silent response is dead. */
export type ReadResponse<Result> = (response: Response, renew: () => void) => Promise<Result>

/** Requests paths of a chat, each again until the server answers. */
export class RepeatedRequest {
  readonly #chat: RealtimeChat
  #attempt: Attempt | undefined
  readonly #backoff = createBackoff()
  #closed = false

  constructor (chat: RealtimeChat) {
    this.#chat = chat
  }

  /**
   * Resolves with the result of `read`, and with `undefined` after `close`. Repeats the request if the network or
   * `read` fails, or if the server is unavailable. Never rejects.
   */
  async send<Result> (path: string, read: ReadResponse<Result>): Promise<Result | undefined> {
    while (!this.#closed) {
      try {
        return await this.#try(path, read)
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

  async #try<Result> (path: string, read: ReadResponse<Result>): Promise<Result> {
    const { signal, renew } = this.#attempt = startAttempt(SILENCE_MS)
    const response = await this.#chat.request(path, signal)
    const { status } = response
    // 501 is final: the server keeps nothing that could be read.
    if ((status >= 500 && status !== 501) || status === 429) throw new Error(`The server answered ${status}`)
    const result = await read(response, renew)
    this.#backoff.reset()
    return result
  }
}

/** Yields the text of a response as it arrives, and calls `renew` with each part. */
export async function * partsOf ({ body }: Response, renew: () => void): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  const reader = (body as ReadableStream<Uint8Array>).getReader()
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    renew()
    yield decoder.decode(read.value, { stream: true })
  }
}
