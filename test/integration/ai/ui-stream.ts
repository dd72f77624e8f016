import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import type { UIChunk } from '../../../lib/ai/index.ts'

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
        const data = /^data: (.*)$/m.exec(frame[0])?.[1]
        if (data !== undefined) return data
        continue
      }
      const { done, value } = await this.#body.next()
      if (done === true) return undefined
      this.#text += this.#decoder.decode(value, { stream: true })
    }
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
