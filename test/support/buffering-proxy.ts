import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Test } from 'tap'

/**
 * What a proxy does to a response: `pass` sends it on as it comes, `hold all` until it ends, `hold last` keeps the last
 * chunk until another one follows, and `cut` ends it after `CUT_MS`.
 */
export type Manner = 'pass' | 'hold all' | 'hold last' | 'cut'

const CUT_MS = 10_000

/** A proxy before an instance of this machine. Closed with the test. */
export class BufferingProxy {
  readonly url: string
  manner: Manner
  /** The types that the clients have asked for. */
  readonly accepted: (string | undefined)[] = []

  private constructor (port: number, manner: Manner) {
    this.url = `http://127.0.0.1:${port}`
    this.manner = manner
  }

  static async start (t: Test, to: string, manner: Manner): Promise<BufferingProxy> {
    const server = http.createServer((request, response) => proxy.#forward(to, request, response))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = new BufferingProxy((server.address() as { port: number }).port, manner)
    t.teardown(() => { server.closeAllConnections(); server.close() })
    return proxy
  }

  #forward (to: string, request: IncomingMessage, response: ServerResponse): void {
    const { manner } = this
    this.accepted.push(request.headers.accept)
    const { method, headers } = request
    const forwarded = http.request(to + request.url, { method, headers }, (received) => {
      const { statusCode = 0, headers } = received
      const held: Buffer[] = []
      const begin = (): void => { response.writeHead(statusCode, headers).flushHeaders() }
      if (manner !== 'hold all') begin()
      received.on('data', (chunk: Buffer) => {
        held.push(chunk)
        const count = manner === 'hold all' ? 0 : manner === 'hold last' ? held.length - 1 : held.length
        for (const chunk of held.splice(0, count)) response.write(chunk)
      })
      received.on('end', () => {
        if (manner === 'hold all') begin()
        response.end(Buffer.concat(held))
      })
      received.on('error', () => response.destroy())
      if (manner === 'cut') setTimeout(() => response.destroy(), CUT_MS).unref()
    })
    forwarded.on('error', () => response.destroy())
    response.on('close', () => forwarded.destroy())
    request.pipe(forwarded)
  }
}
