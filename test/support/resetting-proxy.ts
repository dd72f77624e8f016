import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import http from 'node:http'
import http2, { type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import type { Test } from 'tap'

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR } = http2.constants
/** Headers of HTTP/1.1 that HTTP/2 does not allow. */
const OF_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding'])

/** A proxy with TLS and HTTP/2 that resets event streams, before an instance of this machine. Closed with the test. */
export class ResettingProxy {
  readonly url: string
  /** How many event streams it has reset. */
  resets = 0
  /** The types that the clients have asked for. */
  readonly accepted: (string | undefined)[] = []

  private constructor (port: number) {
    this.url = `https://127.0.0.1:${port}`
  }

  /** `lifetimeMs` returns how long the next event stream lives. With 0, it is reset before its headers. */
  static async start (t: Test, to: string, lifetimeMs: () => number): Promise<ResettingProxy> {
    const [key, cert] = await Promise.all(['key', 'cert'].map((name) =>
      readFile(new URL(`tls/${name}.pem`, import.meta.url))))
    const server = http2.createSecureServer({ key, cert } as http2.SecureServerOptions)
    const sessions = new Set<http2.ServerHttp2Session>()
    server.on('session', (session) => { sessions.add(session) })
    server.on('request', (request, response) => proxy.#forward(to, request, response, lifetimeMs))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = new ResettingProxy((server.address() as { port: number }).port)
    t.teardown(() => { for (const session of sessions) session.destroy(); server.close() })
    return proxy
  }

  #forward (to: string, request: Http2ServerRequest, response: Http2ServerResponse, lifetimeMs: () => number): void {
    const { method, url, headers, stream } = request
    this.accepted.push(headers.accept)
    stream.on('error', () => {})
    if (headers.accept === 'text/event-stream') {
      const ms = lifetimeMs()
      if (ms === 0) return this.#reset(stream)
      setTimeout(() => this.#reset(stream), ms).unref()
    }
    const own = Object.entries(headers).filter(([name]) => !name.startsWith(':'))
    const forwarded = http.request(to + url, { method, headers: Object.fromEntries(own) }, (received) => {
      const allowed = Object.entries(received.headers).filter(([name]) => !OF_CONNECTION.has(name))
      response.writeHead(received.statusCode as number, Object.fromEntries(allowed) as http.OutgoingHttpHeaders)
      stream.on('close', () => received.destroy())
      received.on('error', () => response.stream.close(NGHTTP2_CANCEL)).pipe(response)
    })
    forwarded.on('error', () => stream.close(NGHTTP2_CANCEL))
    stream.on('close', () => forwarded.destroy())
    request.pipe(forwarded)
  }

  #reset (stream: http2.ServerHttp2Stream): void {
    if (stream.closed) return
    this.resets++
    stream.close(this.resets % 2 === 0 ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR)
  }
}
