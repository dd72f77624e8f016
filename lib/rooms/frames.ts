import { formatCursor, type Cursor } from '../pubsub/cursor.ts'
import { formatPart } from './multi-chat-id.ts'
import type { RealtimeErrorCode } from '../errors.ts'
import { encodeFrame, type Frame } from '../sse/frame.ts'
import type { LogGap, LogEntry } from '../pubsub/event-log.ts'

/** Why a client is told to reload: its place can't be followed, is no place, or events that were acknowledged may be missing. */
export type ResetReason = LogGap | 'invalid' | 'failover'

/** A frame as streams get it, and the position in the log that a client has reached with it. */
export class ChatFrame {
  readonly cursor: Cursor | undefined
  /** The whole frame. Its first line is the id, if there is a cursor. */
  readonly bytes: Buffer
  #part: string | undefined

  constructor (cursor: Cursor | undefined, bytes: Buffer) {
    this.cursor = cursor
    this.bytes = bytes
  }

  /** The frame without its id. */
  get body (): Buffer {
    return this.cursor === undefined ? this.bytes : this.bytes.subarray(this.bytes.indexOf('\n') + 1)
  }

  /** The cursor as a part of the id of a stream of several chats. All such streams share it. */
  get part (): string {
    return (this.#part ??= formatPart(this.cursor))
  }
}

/** The bytes of several frames as one. */
export function concat (frames: readonly ChatFrame[]): Buffer {
  return frames.length === 1 ? (frames[0] as ChatFrame).bytes : Buffer.concat(frames.map(({ bytes }) => bytes))
}

/** The first event of a stream. It sets the client's cursor, so that a drop before any other event can be made up for, too. */
export function ready (chatId: string, at: Cursor | undefined, resumed: boolean, retry: number): ChatFrame {
  return encode(at, { retry, event: 'ready', json: JSON.stringify({ chatId, resumed }) })
}

/** A chat that is left out of a stream of several, and why. It has no id, since the client's position in that chat stays. */
export function refused (chatId: string, code: RealtimeErrorCode): Buffer {
  return encodeFrame({ event: 'refused', json: JSON.stringify({ chatId, code }) })
}

/**
 * What proves a loss: the log holds, or held, events after the client's position that the client does not get. A new log, a log that has fallen
 * back, a restart and an id that can't be read prove nothing.
 */
const PROOF_OF_LOSS: ReadonlySet<ResetReason> = new Set<ResetReason>(['trimmed', 'expired', 'diverged'])

/** Tells a client that events may be missing before `at`, or that they are. */
export function reset (chatId: string, reason: ResetReason, at?: Cursor): ChatFrame {
  return encode(at, { event: 'reset', json: JSON.stringify({ chatId, reason, certain: PROOF_OF_LOSS.has(reason) }) })
}

/** An event of the log as streams get it. A fence is none of the app's: it tells that events may be missing. */
export function frameOf (chatId: string, { position, event, json }: LogEntry): ChatFrame {
  return position.isMarker ? reset(chatId, 'failover', position) : encode(position, { event, json })
}

function encode (at: Cursor | undefined, frame: Frame): ChatFrame {
  return new ChatFrame(at, encodeFrame({ ...frame, id: at && formatCursor(at) }))
}
