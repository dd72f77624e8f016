import { validateHeaderName, validateHeaderValue, type OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'

const STREAM_HEADERS = {
  'content-type': 'text/event-stream',
  // If the response could be stored, a browser would let a second tab with the same URL wait until it ends.
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no'
}

/** Headers of the reply that a stream must not have: its length is unknown, and Node chooses the transfer encoding. */
const FRAMING_HEADERS: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding'])

/** Headers of an HTTP/1.1 connection. Over HTTP/2, Node refuses to send them. */
const CONNECTION_HEADERS: ReadonlySet<string> = new Set([
  'connection', 'http2-settings', 'keep-alive', 'proxy-connection', 'te', 'upgrade'
])

/**
 * Returns the headers of the stream that answers a request. Throws Node's error for an invalid header here, because
 * after `hijack()` no error response could be sent.
 */
export function streamHeaders (request: FastifyRequest, reply: FastifyReply): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {}
  const overHttp2 = request.raw.httpVersionMajor === 2
  // `hijack()` would discard headers that hooks have set, such as CORS headers.
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value === undefined || FRAMING_HEADERS.has(name) || (overHttp2 && CONNECTION_HEADERS.has(name))) continue
    validateHeaderName(name)
    validateHeaderValue(name, value as string) // Arrays and numbers are checked as strings, too.
    headers[name] = value
  }
  return Object.assign(headers, STREAM_HEADERS)
}
