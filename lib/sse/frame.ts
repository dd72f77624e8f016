import type { Socket } from 'node:net'
import { RealtimeError, kindOf } from '../errors.ts'
import { NAME } from '../core/names.ts'

/** One event of an SSE stream, before it is encoded. */
export interface Frame {
  /**
   * The client sends it back as `Last-Event-ID`. It must not contain CR, LF or NUL. It must not be empty, since an
   * empty id clears the last event id of the client.
   */
  id?: string | undefined
  /** Must match `^[\w.-]{1,64}$`. Browsers use `message` if it is missing. */
  event?: string | undefined
  /** Milliseconds after which the client reconnects. */
  retry?: number | undefined
  /** JSON on one line. A frame without data only sets `id` and `retry`: browsers dispatch no event for it. */
  json?: string | undefined
}

/**
 * A comment that keeps the connection alive. No blank line follows: some parsers would take it for the end of an empty
 * event.
 */
export const heartbeat = Buffer.from(':\n')

/**
 * Encodes a frame. Throws `RT_SSE_FIELD_INVALID` for an invalid value, such as one with a line break, after which a
 * forged field or event could follow.
 */
export function encodeFrame ({ id, event, retry, json }: Frame): Buffer {
  let head = ''
  if (id !== undefined) head += `id: ${checkId(id)}\n`
  if (retry !== undefined) head += `retry: ${checkRetry(retry)}\n`
  if (event !== undefined) head += `event: ${checkEvent(event)}\n`
  if (json === undefined) return Buffer.from(`${head}\n`)
  // `toJson` escapes line breaks, but JSON from elsewhere may contain them.
  if (json.includes('\n') || json.includes('\r')) throw invalid('its data contains a line break')
  return Buffer.from(`${head}data: ${json}\n\n`)
}

/** Decodes frames that `encodeFrame` has encoded. */
export function decodeFrames (bytes: Buffer): Frame[] {
  return bytes.toString().split('\n\n').slice(0, -1).map((text) => {
    const fields = new Map(text.split('\n').map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 2)]
    }))
    const retry = fields.get('retry')
    return {
      id: fields.get('id'),
      event: fields.get('event'),
      retry: retry === undefined ? undefined : Number(retry),
      json: fields.get('data')
    }
  })
}

function checkId (id: unknown): string {
  if (typeof id !== 'string' || !/^[^\r\n\0]+$/.test(id)) {
    throw invalid('an id must be a non-empty string without line breaks and NUL')
  }
  return id
}

function checkEvent (event: unknown): string {
  if (typeof event !== 'string' || !NAME.test(event)) throw invalid('the name of an event must match ^[\\w.-]{1,64}$')
  return event
}

function checkRetry (retry: unknown): number {
  if (!Number.isSafeInteger(retry) || (retry as number) < 0) {
    throw invalid(`retry must be a whole number of milliseconds, got ${kindOf(retry)}`)
  }
  return retry as number
}

function invalid (what: string): RealtimeError {
  return new RealtimeError('RT_SSE_FIELD_INVALID', what)
}

/** The end of a chunk of `transfer-encoding: chunked`, and of the line before its bytes. */
const CRLF = '\r\n'

/** The line before the bytes of a chunk. */
function sizeLine (length: number): string {
  return `${length.toString(16)}${CRLF}`
}

const EMPTY = Buffer.alloc(0)

/** Encodes chunks of `transfer-encoding: chunked`. */
export class ChunkEncoder {
  // A room writes the same bytes to each of its streams.
  #lastBytes: Buffer | undefined
  #lastChunk = EMPTY

  /** Returns the bytes as one chunk. */
  encode (bytes: Buffer): Buffer {
    if (bytes !== this.#lastBytes) {
      const size = sizeLine(bytes.length)
      const chunk = Buffer.allocUnsafe(size.length + bytes.length + CRLF.length)
      chunk.write(size, 0, 'latin1')
      chunk.set(bytes, size.length)
      chunk.write(CRLF, size.length + bytes.length, 'latin1')
      this.#lastBytes = bytes
      this.#lastChunk = chunk
    }
    return this.#lastChunk
  }
}

/** What is written at once: one buffer, or several that are long and shared, so that they are not copied. */
export type Bytes = Buffer | readonly Buffer[]

/** The number of bytes. */
export function bytesOf (bytes: Bytes): number {
  return Buffer.isBuffer(bytes) ? bytes.length : bytes.reduce((sum, { length }) => sum + length, 0)
}

/** Returns bytes as one buffer. */
export function joined (bytes: Bytes): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.concat(bytes)
}

/**
 * Writes buffers as one chunk, with one system call and without a copy: many copies of many kilobytes cause full
 * garbage collections. Returns as `Socket.write` does.
 */
export function writeChunk (socket: Socket, buffers: readonly Buffer[]): boolean {
  socket.cork()
  socket.write(sizeLine(bytesOf(buffers)), 'latin1')
  for (const buffer of buffers) if (buffer.length > 0) socket.write(buffer)
  const isFree = socket.write(CRLF, 'latin1')
  socket.uncork()
  return isFree
}
