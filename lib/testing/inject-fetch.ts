import { Readable } from 'node:stream'
import type { FastifyInstance, InjectOptions } from 'fastify'

/** An app of Fastify, or anything else that has its `inject`. */
export interface Injectable {
  /** As in Fastify. */
  inject: FastifyInstance['inject']
}

/** Statuses whose responses have no body. */
const BODYLESS: ReadonlySet<number> = new Set([204, 205, 304])

/**
 * Returns a `fetch` whose requests go to an app by `app.inject`, without a port: for `createRealtimeClient` in a test.
 * The host in the URL is ignored. Responses are streamed, and an aborted request closes its stream in the app.
 */
export function injectFetch (app: Injectable): typeof fetch {
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input, 'http://localhost')
    const request = new Request(input instanceof Request ? input : url, init)
    const { method, headers, signal } = request
    signal.throwIfAborted()
    const response = await app.inject({
      method: method as NonNullable<InjectOptions['method']>, // Fastify's type lists the methods.
      url: url.pathname + url.search,
      headers: Object.fromEntries(headers),
      ...request.body !== null && { payload: Buffer.from(await request.arrayBuffer()) },
      payloadAsStream: true
    })
    const stream = response.stream()
    const abort = (): void => { stream.destroy(signal.reason) }
    signal.addEventListener('abort', abort)
    stream.once('close', () => {
      signal.removeEventListener('abort', abort)
      // The app then sees that the client has disconnected.
      response.raw.res.destroy()
    })
    if (signal.aborted) stream.destroy()
    signal.throwIfAborted()
    const hasBody = !BODYLESS.has(response.statusCode)
    if (!hasBody) stream.resume()
    // The web's type and Node's are the same thing under two names.
    return new Response(hasBody ? Readable.toWeb(stream) as ReadableStream : null, {
      status: response.statusCode, headers: headersOf(response.headers)
    })
  }
}

function headersOf (headers: Record<string, number | string | string[] | undefined>): Headers {
  const copy = new Headers()
  for (const [name, value] of Object.entries(headers)) {
    // A header that was sent has a value.
    for (const each of [value].flat()) copy.append(name, String(each))
  }
  return copy
}
