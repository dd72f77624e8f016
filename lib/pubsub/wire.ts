import { NAME } from '../core/names.ts'
import { checkTraceparent } from '../observability/tracing.ts'
import { parseCursor } from './cursor.ts'
import type { Envelope } from './event-log.ts'
import { isEventName } from './event-name.ts'
import { parseStateVersion, type StateChange, type StateOperation } from './state-store.ts'

/** Kinds of events on the wire: `d` durable, `e` ephemeral, `f` a discontinuity marker. */
export type EventKind = 'd' | 'e' | 'f'

/** A message as it was received: an event, or with the kind `s` a change of the state. */
export type WireMessage = { kind: EventKind, envelope: Envelope } | { kind: 's', change: StateChange }

const SPACE = 0x20
const ZERO = 0x30
const TRACEPARENT_LENGTH = 55

/**
 * Writes `<from> <timestamp> <event> [<traceparent>] <json>`, the part of a message that its publisher knows. The JSON stays as it is behind plain
 * words, so that a receiver never parses what it only forwards.
 */
export function encodePayload ({ from, timestamp, event, json, traceparent }: Envelope): string {
  return `${from} ${timestamp} ${event} ${traceparent === undefined ? '' : `${traceparent} `}${json}`
}

/** Writes a message that has no place in a log: `1 - - - - <kind> <payload>`. One that has is written by lua/includes/log.lua. */
export function encodeWire (kind: EventKind, envelope: Envelope): string {
  return `1 - - - - ${kind} ${encodePayload(envelope)}`
}

/**
 * Reads `1 <epoch> <offset> <tag> <previous tag> <kind> <payload>`, or `1 <epoch> <version> - - s <change>`; `undefined` for
 * garbage and for versions unknown here. Never throws.
 */
export function decodeWire (message: Buffer): WireMessage | undefined {
  const header = words(message, 0, 6)
  if (header === undefined) return undefined
  const [format, epoch, count, tag, previousTag, kind] = header.words as [string, string, string, string, string, string]
  if (format !== '1') return undefined
  if (kind === 's') return decodeChange(message, header.end, `${epoch}-${count}`)
  if (kind !== 'd' && kind !== 'e' && kind !== 'f') return undefined
  const envelope = decodePayload(message.subarray(header.end))
  if (envelope === undefined) return undefined
  if (epoch === '-') return kind === 'f' ? undefined : { kind, envelope }
  const cursor = parseCursor(`${epoch}-${count}-${tag}`)
  if (cursor === undefined || kind === 'e' || !NUMBER.test(previousTag)) return undefined
  return { kind, envelope: { ...envelope, position: { ...cursor, previousTag: Number(previousTag), isMarker: kind === 'f' } } }
}

/** How the operations of a state are called on the wire, and by lua/change-state.lua. */
export const operationCodes: Record<StateOperation, string> = { set: '=', open: 'o', append: '+', delete: '-', expire: 'x' }

const operations = new Map(Object.entries(operationCodes).map(([operation, code]) => [code, operation as StateOperation]))

/** Reads `<operation> <field> <value>`, written by lua/includes/state.lua. */
function decodeChange (message: Buffer, start: number, format: string): WireMessage | undefined {
  const header = words(message, start, 2)
  const version = parseStateVersion(format)
  if (header === undefined || version === undefined) return undefined
  const [code, name] = header.words as [string, string]
  const operation = operations.get(code)
  const field = decodeField(name)
  if (operation === undefined || field === undefined) return undefined
  return { kind: 's', change: { version, operation, field, value: message.toString('utf8', header.end) } }
}

/** A field's name as one word. */
export function encodeField (field: string): string {
  return encodeURIComponent(field)
}

/** Reads what `encodeField` wrote; `undefined` for garbage. Never throws. */
export function decodeField (field: string): string | undefined {
  try {
    return decodeURIComponent(field)
  } catch {
    return undefined
  }
}

/** Reads what `encodePayload` wrote; `undefined` for garbage. Never throws. */
export function decodePayload (payload: Buffer): Envelope | undefined {
  const header = words(payload, 0, 3)
  if (header === undefined) return undefined
  const [from, timestamp, event] = header.words as [string, string, string]
  if (!NAME.test(from) || !NUMBER.test(timestamp) || !isEventName(event)) return undefined
  // No JSON starts like a traceparent.
  const traceparent = payload[header.end] === ZERO ? checkTraceparent(payload.toString('latin1', header.end, header.end + TRACEPARENT_LENGTH)) : undefined
  // As a string it is small; the bytes would keep all that was received with them.
  const json = payload.toString('utf8', traceparent === undefined ? header.end : header.end + TRACEPARENT_LENGTH + 1)
  // A line break here would end a frame early and let a forged one follow.
  if (json.length === 0 || json.includes('\n') || json.includes('\r')) return undefined
  return { from, timestamp: Number(timestamp), event, json, ...traceparent !== undefined && { traceparent } }
}

/** The next words, each ended by a space, and where what follows starts. */
function words (bytes: Buffer, start: number, count: number): { words: string[], end: number } | undefined {
  const words: string[] = []
  let end = start
  while (words.length < count) {
    const space = bytes.indexOf(SPACE, end)
    if (space === -1) return undefined
    words.push(bytes.toString('latin1', end, space))
    end = space + 1
  }
  return { words, end }
}

const NUMBER = /^\d{1,15}$/
