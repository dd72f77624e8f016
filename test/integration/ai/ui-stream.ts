import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import type { UIChunk, UIMessageSource } from '../../../lib/ai/index.ts'
import { inTime } from '../../support/in-time.ts'
import { until } from '../../support/until.ts'
import type { Side } from '../bot-messages/sides.ts'

export const text = (delta: string): UIChunk => ({ type: 'text-delta', id: 't', delta })

/** A source that yields chunks, and then waits until its signal aborts. */
export const hanging = (...chunks: UIChunk[]): UIMessageSource => async function * (signal) {
  yield * chunks
  await new Promise((resolve) => signal.addEventListener('abort', resolve))
}

/** The stream of the UI message in progress; its status is 204 if there is none. */
export function active (t: Test, { url }: Pick<Side, 'url'>, init?: RequestInit): Promise<UIStream> {
  return UIStream.open(t, `${url}/api/chats/c/stream`, init)
}

/** The same, as soon as there is one. */
export async function streaming (t: Test, side: Pick<Side, 'url'>, init?: RequestInit): Promise<UIStream> {
  const found: UIStream[] = []
  await until(async () => { found.push(await active(t, side, init)) }, () => found.at(-1)?.response.status === 200)
  return found.at(-1) as UIStream // One was found.
}

/** Adds a route that answers with the UI message of an id in the chat `c`. */
export function answerWith (app: FastifyInstance): void {
  app.route<{ Querystring: { id: string } }>({
    method: ['GET', 'HEAD', 'POST'],
    url: '/api/ask',
    handler: async (request, reply) => { await reply.sse.uiMessage('c', { id: request.query.id }) }
  })
}

/** A UI message stream as a client reads it. */
export class UIStream {
  readonly response: Response
  readonly #body: AsyncIterator<Uint8Array>
  readonly #decoder = new TextDecoder()
  #text = ''
  #heartbeats = 0

  private constructor (response: Response) {
    this.response = response
    this.#body = (response.body ?? ReadableStream.from<Uint8Array>([]))[Symbol.asyncIterator]()
  }

  static async open (t: Test, url: string, init: RequestInit = {}): Promise<UIStream> {
    const controller = new AbortController()
    t.teardown(() => controller.abort())
    return new UIStream(await fetch(url, { signal: controller.signal, ...init }))
  }

  /** The data of the next frame; `undefined` at the end. Rejects if the connection was cut. */
  async next (): Promise<string | undefined> {
    for (;;) {
      const frame = /^([^]*?)\n\n/.exec(this.#text)
      if (frame !== null) {
        this.#text = this.#text.slice(frame[0].length)
        const data = /^data: ([^\n]*)/m.exec(frame[0])?.[1]
        if (data !== undefined) return data
        continue
      }
      if (!await this.#readMore()) return undefined
    }
  }

  /** Resolves after so many heartbeats in all. Rejects if the connection was cut, or another frame arrives. */
  async heartbeats (count: number): Promise<void> {
    for (;;) {
      this.#text = this.#text.replace(/^:\n/gm, () => { this.#heartbeats++; return '' })
      if (this.#heartbeats >= count) return
      if (this.#text !== '') throw new Error(`Not only heartbeats arrived: ${this.#text}`)
      if (!await this.#readMore()) throw new Error('The stream has ended')
    }
  }

  /** Resolves with false at the end. */
  async #readMore (): Promise<boolean> {
    const { done, value } = await inTime(this.#body.next(), 'The next bytes of the stream')
    if (done === true) return false
    this.#text += this.#decoder.decode(value, { stream: true })
    return true
  }

  async chunk (): Promise<UIChunk> {
    return JSON.parse(await this.next() as string) as UIChunk
  }

  /** The rest of the stream, which must end with `[DONE]`. */
  async rest (): Promise<UIChunk[]> {
    const chunks: UIChunk[] = []
    for (let data = await this.next(); data !== '[DONE]'; data = await this.next()) {
      if (data === undefined) throw new Error('The stream has ended before [DONE]')
      chunks.push(JSON.parse(data) as UIChunk)
    }
    if (await this.next() !== undefined) throw new Error('The stream goes on after [DONE]')
    return chunks
  }
}
