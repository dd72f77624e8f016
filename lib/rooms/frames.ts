import { formatCursor, type Cursor } from '../pubsub/cursor.ts'
import { formatPart } from './multi-chat-id.ts'
import type { RealtimeErrorCode } from '../errors.ts'
import { encodeFrame, type Frame } from '../sse/frame.ts'
import type { LogGap, LogEntry } from '../pubsub/event-log.ts'

/**
 * The reason of a `reset` event: the log can't be continued from the client's position, the client's event id is
 * invalid, or acknowledged events may be missing.
 */
export type ResetReason = LogGap | 'invalid' | 'failover'

/** A frame of a room, and the position in the log that a client reaches with it. All streams of the room share it. */
export class ChatFrame {
  /** `undefined` if the frame is not an event of the log: the client keeps its position. */
  readonly cursor: Cursor | undefined
  /** The whole frame. Its first line is the id, if there is a cursor. */
  readonly bytes: Buffer
  #body: Buffer | undefined
  #part: string | undefined

  constructor (cursor: Cursor | undefined, bytes: Buffer) {
    this.cursor = cursor
    this.bytes = bytes
  }

  // A multi-chat stream replaces the id, so it needs the frame in two parts. They are made when first needed.

  /** The frame without its id. */
  get body (): Buffer {
    const start = this.cursor === undefined ? 0 : this.bytes.indexOf('\n') + 1
    return (this.#body ??= this.bytes.subarray(start))
  }

  /** The cursor as one part of the id of a multi-chat stream. */
  get part (): string {
    return (this.#part ??= formatPart(this.cursor))
  }
}

/** Returns the bytes of several frames as one buffer. */
export function concat (frames: readonly ChatFrame[]): Buffer {
  return frames.length === 1 ? (frames[0] as ChatFrame).bytes : Buffer.concat(frames.map(({ bytes }) => bytes))
}

/**
 * Returns the first event of a stream. Its id is the position at which the stream starts, so that the client can resume
 * even if it disconnects before the next event.
 */
export function readyFrame (chatId: string, at: Cursor | undefined, resumed: boolean, retry: number): ChatFrame {
  return encodeAt(at, { retry, event: 'ready', json: JSON.stringify({ chatId, resumed }) })
}

/**
 * Returns the event for a chat that is left out of a multi-chat stream. It has no id, since the client keeps its
 * position in that chat.
 */
export function refusedFrame (chatId: string, code: RealtimeErrorCode): Buffer {
  return encodeFrame({ event: 'refused', json: JSON.stringify({ chatId, code }) })
}

/**
 * The reasons that prove a loss: the log holds, or held, events after the client's position that the client does not
 * get. A new log, a log that has fallen back, a restart and an invalid id prove nothing.
 */
const PROOF_OF_LOSS: ReadonlySet<ResetReason> = new Set<ResetReason>(['trimmed', 'expired', 'diverged'])

/** Returns the `reset` event: events before `at` are missing or may be missing. */
export function resetFrame (chatId: string, reason: ResetReason, at?: Cursor): ChatFrame {
  return encodeAt(at, { event: 'reset', json: JSON.stringify({ chatId, reason, certain: PROOF_OF_LOSS.has(reason) }) })
}

/** Returns the frame of a log entry. A discontinuity marker is not an event of the app: it becomes a `reset` event. */
export function entryFrame (chatId: string, { position, event, json }: LogEntry): ChatFrame {
  return position.isMarker ? resetFrame(chatId, 'failover', position) : encodeAt(position, { event, json })
}

function encodeAt (at: Cursor | undefined, { retry, event, json }: Frame): ChatFrame {
  return new ChatFrame(at, encodeFrame({ id: at && formatCursor(at), retry, event, json }))
}
