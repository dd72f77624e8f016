import { RealtimeError, kindOf } from '../errors.ts'
import { NAME } from '../core/names.ts'

/** One event in the form of Server-Sent Events, before it is bytes. */
export interface Frame {
  /** What the client sends back as `Last-Event-ID`. Without CR, LF and NUL, and not empty, since an empty one clears the client's. */
  id?: string | undefined
  /** Must match `^[\w.-]{1,64}$`. Browsers call it `message` if there is none. */
  event?: string | undefined
  /** Milliseconds after which the client reconnects. */
  retry?: number | undefined
  /** JSON on one line. A frame without it sets `id` and `retry` only: browsers tell nobody. */
  json?: string | undefined
}

/** A comment keeps the connection alive. No blank line follows: some parsers would take it for the end of an empty event. */
export const heartbeat = Buffer.from(':\n')

/** Writes a frame. Throws `RT_SSE_FIELD_INVALID` for what would end a line early and let a forged field or event follow. */
export function encodeFrame ({ id, event, retry, json }: Frame): Buffer {
  let head = ''
  if (id !== undefined) head += `id: ${checkId(id)}\n`
  if (retry !== undefined) head += `retry: ${checkRetry(retry)}\n`
  if (event !== undefined) head += `event: ${checkEvent(event)}\n`
  if (json === undefined) return Buffer.from(`${head}\n`)
  if (json.includes('\n') || json.includes('\r')) throw invalid('data with a line break')
  return Buffer.from(`${head}data: ${json}\n\n`)
}

function checkId (id: unknown): string {
  if (typeof id !== 'string' || !/^[^\r\n\0]+$/.test(id)) throw invalid('an id must be a string without line breaks and NUL that is not empty')
  return id
}

function checkEvent (event: unknown): string {
  if (typeof event !== 'string' || !NAME.test(event)) throw invalid('the name of an event must match ^[\\w.-]{1,64}$')
  return event
}

function checkRetry (retry: unknown): number {
  if (!Number.isSafeInteger(retry) || (retry as number) < 0) throw invalid(`retry must be a whole number of milliseconds, got ${kindOf(retry)}`)
  return retry as number
}

function invalid (what: string): RealtimeError {
  return new RealtimeError('RT_SSE_FIELD_INVALID', what)
}
