import { sameCursor, type Cursor } from '../pubsub/cursor.ts'
import type { ReplayBuffer } from './replay-buffer.ts'
import type { ChatLog } from './chat-log.ts'
import { concat, readyFrame, resetFrame, type ChatFrame, type ResetReason } from './frames.ts'
import type { LogReplay } from './log-replay.ts'
import type { EventSink } from './event-sink.ts'
import { budgets } from '../core/budgets.ts'
import type { LogGap } from '../pubsub/event-log.ts'

/** The position from which a client wants to continue. */
export interface ResumeRequest {
  /** The last event that the client has; `invalid` if it sent an id that can't be parsed. */
  after?: Cursor | 'invalid' | undefined
  /** Number of past events that a new client wants. */
  rewind?: number | undefined
}

/** The room that a stream joins. */
export interface CatchUpTarget {
  readonly chatId: string
  readonly retryMs: number
  readonly chatLog: Pick<ChatLog, 'inSync' | 'isUnproven' | 'position' | 'recent' | 'replay' | 'whenInSync' | 'sync'>
  /** Writes the frames and subscribes the stream to later events. `reason` is set if the frames include a reset. */
  attach (stream: EventSink, frames: ChatFrame[], reason?: ResetReason): void
}

/** Bytes written at once to a client that reconnects. */
const CHUNK_BYTES = 65_536

/**
 * Catches a stream up with its room. Writes `ready`, then the missed events, and attaches the stream in the same turn
 * of the event loop in which nothing is left to write. Never rejects.
 */
export async function catchUp (
  room: CatchUpTarget, stream: EventSink, { after, rewind = 0 }: ResumeRequest
): Promise<void> {
  if (!room.chatLog.inSync) await room.chatLog.whenInSync(stream)
  const { chatId, retryMs, chatLog: { position, replay } } = room
  const ready = readyFrame(chatId, position, false, retryMs)
  if (replay === undefined || (after === undefined && rewind === 0)) room.attach(stream, [ready])
  else if (after === 'invalid') room.attach(stream, [ready, resetFrame(chatId, after, position)], after)
  else {
    await sendMissed(
      room, replay, { stream, position: after, resumes: after !== undefined, rewind, readySent: false }
    )
  }
}

/** The state of a client that catches up. */
interface Client {
  readonly stream: EventSink
  /** The last event that the client has; `undefined` until the start of a new client is known. */
  position: Cursor | undefined
  readonly resumes: boolean
  readonly rewind: number
  readySent: boolean
}

/** Reads and writes the missed events until the client is attached or disconnected. */
async function sendMissed (room: CatchUpTarget, replay: LogReplay, client: Client): Promise<void> {
  const { stream } = client
  while (!stream.closed) {
    if (!room.chatLog.inSync) await room.chatLog.whenInSync(stream)
    if (attachIfNear(room, client)) return
    // The chats of one stream take turns, so that a stream requests and holds only one page at a time.
    const outcome = await stream.inTurn(() => step(room, replay, client))
    if (outcome === 'attached') return
    if (outcome === 'failed') await pause(replay.retryMs, stream)
  }
}

/** Attaches the client if the replay buffer has all missed events and they are few enough for one write. */
function attachIfNear (room: CatchUpTarget, client: Client): boolean {
  const { position, stream } = client
  if (!room.chatLog.inSync || isDoubtful(room, client)) return false
  const missed = position && room.chatLog.recent.after(position, CHUNK_BYTES)
  if (position === undefined || missed === undefined) return false
  const isAll = missed.length === 0 ||
    sameCursor((missed.at(-1) as ChatFrame).cursor as Cursor, room.chatLog.recent.head)
  if (!isAll || (missed.length > 0 && (bytesOf(missed) > CHUNK_BYTES || stream.crowded))) return false
  room.attach(stream, [...readyIfFirst(room, client, position), ...missed])
  return true
}

/** True if the client sent a position and events may be missing after it. */
function isDoubtful (room: CatchUpTarget, client: Client): boolean {
  return room.chatLog.isUnproven && client.resumes
}

/** The result of a step. `failed` means that the log could not be read. */
type Outcome = 'attached' | 'again' | 'failed'

/** Writes one page to the client, or attaches it. */
async function step (room: CatchUpTarget, replay: LogReplay, client: Client): Promise<Outcome> {
  // The state may have changed while other chats had their turn.
  if (!room.chatLog.inSync || client.stream.closed) return 'again'
  try {
    if (client.position === undefined) client.position = await rewindStart(room, replay, client.rewind)
    else if (isDoubtful(room, client) || !room.chatLog.recent.has(client.position)) {
      return await stepFrom(room, replay, client, client.position)
    } else await write(room, client, room.chatLog.recent, CHUNK_BYTES)
    return 'again'
  } catch {
    // If the room can't read the log either, it is out of sync until it can.
    await room.chatLog.sync()
    return 'failed'
  }
}

/** Does a step from a position that the replay buffer does not cover. */
async function stepFrom (room: CatchUpTarget, replay: LogReplay, client: Client, position: Cursor): Promise<Outcome> {
  const found = isDoubtful(room, client) ? 'failover' : await readMissed(room, replay, position)
  if (typeof found !== 'string') {
    await write(room, client, found, budgets.clientPage)
  } else if (!client.resumes && !client.readySent) {
    // The rewind start was trimmed meanwhile. A new client needs no reset, so choose a new start.
    replay.forget()
    client.position = undefined
  } else if (room.chatLog.inSync) {
    // `ready` carries the old position, and only the reset moves it. If the connection breaks before the reset arrives,
    // the client gets a reset again.
    const reset = resetFrame(room.chatId, found, room.chatLog.position)
    const frames = [...readyIfFirst(room, client, position, false), reset]
    room.attach(client.stream, frames, found)
    return 'attached'
  }
  return 'again'
}

/** Writes the events of a buffer after the client's position, about `maxBytes` bytes at most, at the client's pace. */
async function write (room: CatchUpTarget, client: Client, buffer: ReplayBuffer, maxBytes: number): Promise<void> {
  for (let written = 0; written < maxBytes && !client.stream.closed;) {
    const position = client.position as Cursor // The caller has checked that there is one.
    const chunk = buffer.after(position, CHUNK_BYTES)
    // The buffer may have dropped the next events while the client received the last chunk.
    if (chunk === undefined || chunk.length === 0) return
    const frames = [...readyIfFirst(room, client, position), ...chunk]
    client.position = (chunk.at(-1) as ChatFrame).cursor
    written += bytesOf(chunk)
    await client.stream.writeAndDrain(concat(frames), frames)
    // Yield, since a fast client would otherwise keep the process busy until the end of the log.
    await new Promise(setImmediate)
  }
}

/** Returns the `ready` frame if the client has not got it yet. */
function readyIfFirst (room: CatchUpTarget, client: Client, at: Cursor, resumed = client.resumes): ChatFrame[] {
  if (client.readySent) return []
  client.readySent = true
  return [readyFrame(room.chatId, at, resumed, room.retryMs)]
}

/** Reads past the replay buffer. Returns events, a gap reason, or an empty buffer if the caller must retry. */
async function readMissed (room: CatchUpTarget, replay: LogReplay, position: Cursor): Promise<ReplayBuffer | LogGap> {
  const head = room.chatLog.position as Cursor // It is set while the log is in sync.
  // The client was last on an instance that had received more events than this one.
  const isAhead = position.epoch === head.epoch && position.offset > head.offset
  const shared = isAhead ? undefined : (await replay.shared(room.chatLog.recent.base)).buffer
  if (shared?.has(position) === true && !sameCursor(shared.head, position)) return shared
  // The shared page may be old and the room behind, so only the log itself can show a gap.
  const found = await replay.after(position)
  if (typeof found !== 'string' && found.size > 0) return found
  await room.chatLog.sync()
  return found
}

/** Returns the position before the last `count` events that the log still has. */
async function rewindStart (room: CatchUpTarget, replay: LogReplay, count: number): Promise<Cursor> {
  if (room.chatLog.recent.size >= count) return room.chatLog.recent.before(count)
  const { buffer, whole } = await replay.shared(room.chatLog.recent.base)
  // Some of these events may have been published after the shared page was read.
  const missing = Math.max(0, count - (room.chatLog.position as Cursor).offset + buffer.head.offset)
  return missing <= buffer.size || whole ? buffer.before(missing) : await replay.start(count)
}

/** Resolves after `ms` milliseconds, or when the stream closes. */
function pause (ms: number, stream: EventSink): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      removeCallback()
      clearTimeout(timer)
      resolve()
    }
    const removeCallback = stream.onClose(done)
    const timer = setTimeout(done, ms).unref()
  })
}

function bytesOf (frames: readonly ChatFrame[]): number {
  return frames.reduce((sum, { bytes }) => sum + bytes.length, 0)
}
