import { NAME } from '../core/names.ts'
import { checkTraceparent } from '../observability/tracing.ts'
import { parseCursor } from './cursor.ts'
import type { Envelope } from './event-log.ts'
import { isEventName } from './names.ts'
import { parseStateVersion, type Piece, type StateChange, type StateOperation } from './state-store.ts'

/** The kind of an event on the wire: `d` durable, `e` ephemeral, `f` discontinuity marker. */
type EventKind = 'd' | 'e' | 'f'

/** A received message: an event, or a state change (kind `s`). */
type WireMessage = { kind: EventKind, envelope: Envelope } | { kind: 's', change: StateChange }

const SPACE = 0x20
const ZERO = 0x30
const TRACEPARENT_LENGTH = 55

/**
 * Encodes the part of a message that its publisher knows: `<from> <timestamp> <event> [<traceparent>] <json>`. A
 * receiver needs only the words before the JSON, so it forwards the JSON without parsing it.
 */
export function encodePayload ({ from, timestamp, event, json, traceparent }: Envelope): string {
  return `${from} ${timestamp} ${event} ${traceparent === undefined ? '' : `${traceparent} `}${json}`
}

/**
 * Encodes a message without a log position: `1 - - - - <kind> <payload>`. For messages with a position,
 * lua/includes/log.lua does that.
 */
export function encodeWire (kind: EventKind, envelope: Envelope): string {
  return `1 - - - - ${kind} ${encodePayload(envelope)}`
}

/**
 * Parses `1 <epoch> <offset> <tag> <previous tag> <kind> <payload>`, or `1 <epoch> <version> - - s <change>`. Returns
 * `undefined` for malformed messages and unknown format versions. Never throws.
 */
export function decodeWire (message: Buffer): WireMessage | undefined {
  const header = readWords(message, 0, 6)
  if (header === undefined) return undefined
  const [format, epoch, count, tag, previousTag, kind] =
    header.words as [string, string, string, string, string, string]
  if (format !== '1') return undefined
  if (kind === 's') return decodeChange(message, header.end, `${epoch}-${count}`)
  if (kind !== 'd' && kind !== 'e' && kind !== 'f') return undefined
  const envelope = decodePayload(message.subarray(header.end))
  if (envelope === undefined) return undefined
  if (epoch === '-') return kind === 'f' ? undefined : { kind, envelope }
  const cursor = parseCursor(`${epoch}-${count}-${tag}`)
  if (cursor === undefined || kind === 'e' || !NUMBER.test(previousTag)) return undefined
  return {
    kind,
    envelope: { ...envelope, position: { ...cursor, previousTag: Number(previousTag), isMarker: kind === 'f' } }
  }
}

/** The codes of state operations, on the wire and in lua/change-state.lua. */
export const operationCodes: Record<StateOperation, string> = {
  set: '=',
  open: 'o',
  append: '+',
  delete: '-',
  expire: 'x'
}

const operations = new Map(
  Object.entries(operationCodes).map(([operation, code]) => [code, operation as StateOperation])
)

/** Parses `<operation> <field> <value>`, which lua/includes/state.lua writes. */
function decodeChange (message: Buffer, start: number, versionText: string): WireMessage | undefined {
  const header = readWords(message, start, 2)
  const version = parseStateVersion(versionText)
  if (header === undefined || version === undefined) return undefined
  const [code, name] = header.words as [string, string]
  const operation = operations.get(code)
  const field = decodeField(name)
  if (operation === undefined || field === undefined) return undefined
  if (operation !== 'append') {
    return { kind: 's', change: { version, operation, field, value: message.toString('utf8', header.end) } }
  }
  const piece = decodePiece(message, header.end)
  return piece && { kind: 's', change: { version, operation, field, value: '', piece } }
}

/** Parses `<at> <end> <content>`, which lua/change-state.lua writes. */
function decodePiece (message: Buffer, start: number): Piece | undefined {
  const header = readWords(message, start, 2)
  if (header === undefined) return undefined
  const [at, end] = header.words as [string, string]
  if (!NUMBER.test(at) || !NUMBER.test(end)) return undefined
  return { at: Number(at), end: Number(end), content: message.toString('utf8', header.end) }
}

/** Encodes a field's name as one word. */
export function encodeField (field: string): string {
  return encodeURIComponent(field)
}

/** Parses the output of `encodeField`; returns `undefined` for malformed text. Never throws. */
export function decodeField (field: string): string | undefined {
  try {
    return decodeURIComponent(field)
  } catch {
    return undefined
  }
}

/** Parses the output of `encodePayload`; returns `undefined` for malformed bytes. Never throws. */
export function decodePayload (payload: Buffer): Envelope | undefined {
  const header = readWords(payload, 0, 3)
  if (header === undefined) return undefined
  const [from, timestamp, event] = header.words as [string, string, string]
  if (!NAME.test(from) || !NUMBER.test(timestamp) || !isEventName(event)) return undefined
  // A traceparent begins with `00-`, which no JSON text does.
  const traceparent = payload[header.end] === ZERO
    ? checkTraceparent(payload.toString('latin1', header.end, header.end + TRACEPARENT_LENGTH))
    : undefined
  // Copied to a string, since a view would keep the whole received buffer in memory.
  const json = payload.toString('utf8', traceparent === undefined ? header.end : header.end + TRACEPARENT_LENGTH + 1)
  // A line break would end the SSE frame early and allow a forged frame to follow.
  if (json.length === 0 || json.includes('\n') || json.includes('\r')) return undefined
  return { from, timestamp: Number(timestamp), event, json, ...traceparent !== undefined && { traceparent } }
}

/** Reads `count` words, each ended by a space. `end` is the index after the last space. */
function readWords (bytes: Buffer, start: number, count: number): { words: string[], end: number } | undefined {
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
