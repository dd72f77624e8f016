import { randomBytes } from 'node:crypto'
import { bytesOver } from '../core/byte-length.ts'
import { eventName } from './event-name.ts'
import { RealtimeError } from '../errors.ts'
import { toJson } from '../core/json.ts'
import type { Envelope } from './event-log.ts'

/** Serializes a value into an envelope. Throws `RT_PAYLOAD_INVALID` or `RT_PAYLOAD_TOO_LARGE`. */
export function makeEnvelope (data: unknown, from: string, maxPayloadBytes: number, traceparent?: string): Envelope {
  const json = toJson(data)
  const bytes = bytesOver(json, maxPayloadBytes)
  if (bytes !== undefined) throw new RealtimeError('RT_PAYLOAD_TOO_LARGE', `${bytes} of at most ${maxPayloadBytes}`)
  return { from, timestamp: Date.now(), event: eventName(data), json, traceparent }
}

/** Makes a name for this instance. Containers all run as process 1 and may start together: the random part differs. */
export function makeInstanceId (provider: string): string {
  return `${provider}-${process.pid}-${Date.now()}-${randomBytes(3).toString('hex')}`
}
