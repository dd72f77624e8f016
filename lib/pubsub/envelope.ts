import { randomBytes } from 'node:crypto'
import type { Envelope } from './provider.ts'
import { RealtimeError } from '../errors.ts'
import { toJson } from '../json.ts'
import { NAME } from '../name.ts'

/** Kinds of messages on the wire: `d` durable, `e` ephemeral. */
export type WireKind = 'd' | 'e'

/** A message as it was received: its kind, and what it carries. */
export interface WireMessage {
  kind: WireKind
  envelope: Envelope
}

const SPACE = 0x20
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d

/**
 * Writes `1 - - - - <kind> <from> <timestamp> <event> <json>`: a versioned header of plain words before the untouched
 * JSON, so that a receiver never parses what it only forwards. The dashes are the place in a log, where there is one.
 */
export function encodeWire (kind: WireKind, envelope: Envelope): Buffer {
  const header = `1 - - - - ${kind} ${envelope.from} ${envelope.timestamp} ${envelope.event} `
  return Buffer.concat([Buffer.from(header, 'latin1'), envelope.json])
}

/** Reads what `encodeWire` wrote; `undefined` for garbage and for versions unknown here. Never throws. */
export function decodeWire (message: Buffer): WireMessage | undefined {
  const words: string[] = []
  let start = 0
  while (words.length < 9) {
    const end = message.indexOf(SPACE, start)
    if (end === -1) return undefined
    words.push(message.toString('latin1', start, end))
    start = end + 1
  }
  const [version, , , , , kind, from, timestamp, event] = words as [string, string, string, string, string, string, string, string, string]
  if (version !== '1' || (kind !== 'd' && kind !== 'e')) return undefined
  if (!NAME.test(from) || !/^\d{1,15}$/.test(timestamp) || !isEventType(event)) return undefined
  const json = message.subarray(start)
  // A line break here would end a frame early and let a forged one follow.
  if (json.length === 0 || json.includes(LINE_FEED) || json.includes(CARRIAGE_RETURN)) return undefined
  return { kind, envelope: { from, timestamp: Number(timestamp), event, json } }
}

/** Names that streams use for themselves. An app can't publish under them. */
const RESERVED: readonly string[] = ['ready', 'reset']

/** Whether an event may be called so: a name that an SSE frame can carry and that no stream uses itself. */
export function isEventType (type: unknown): type is string {
  return typeof type === 'string' && NAME.test(type) && !RESERVED.includes(type)
}

/** Wraps a value for its way. Throws `RT_PAYLOAD_INVALID` or `RT_PAYLOAD_TOO_LARGE`. */
export function makeEnvelope (data: unknown, from: string, maxPayloadBytes: number): Envelope {
  const json = Buffer.from(toJson(data))
  if (json.length > maxPayloadBytes) throw new RealtimeError('RT_PAYLOAD_TOO_LARGE', `${json.length} of at most ${maxPayloadBytes}`)
  return { from, timestamp: Date.now(), event: eventName(data), json }
}

/** The SSE name of a published value: its `type` where it has a fit one. */
export function eventName (data: unknown): string {
  const type = typeof data === 'object' && data !== null && 'type' in data ? data.type : undefined
  return isEventType(type) ? type : 'message'
}

/** A name for this instance. The random part tells containers apart, which all run as process 1 and may start together. */
export function makeInstanceId (provider: string): string {
  return `${provider}-${process.pid}-${Date.now()}-${randomBytes(3).toString('hex')}`
}
