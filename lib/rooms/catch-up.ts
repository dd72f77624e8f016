import { sameCursor, type Cursor } from '../pubsub/cursor.ts'
import type { ReplayBuffer } from './replay-buffer.ts'
import type { ChatLog } from './chat-log.ts'
import { concat, ready, reset, type ChatFrame, type ResetReason } from './frames.ts'
import type { LogReplay } from './log-replay.ts'
import type { EventSink } from './event-sink.ts'
import { budgets } from '../core/budgets.ts'
import type { LogGap } from '../pubsub/event-log.ts'

/** Where a client wants to go on from. */
export interface ResumeRequest {
  /** The last event that it has; `invalid` where it sent something else. */
  after?: Cursor | 'invalid' | undefined
  /** How many of the last events a new client wants. */
  rewind?: number | undefined
}

/** The room that a stream arrives in. */
export interface CatchUpTarget {
  readonly chatId: string
  readonly retryMs: number
  readonly chatLog: Pick<ChatLog, 'inSync' | 'isUnproven' | 'position' | 'recent' | 'replay' | 'whenInSync' | 'sync'>
  /** Writes the frames, and makes the stream get what comes from now on. `reason` says that a reset is among them. */
  attach (stream: EventSink, frames: ChatFrame[], reason?: ResetReason): void
}

/** How many bytes a client that reconnects is written at once. */
const CHUNK_BYTES = 65_536

/**
 * Brings a stream level with its room: writes `ready`, then what the client missed, and attaches it in the same turn in which nothing is
 * left to write. Never rejects.
 */
export async function catchUp (room: CatchUpTarget, stream: EventSink, { after, rewind = 0 }: ResumeRequest): Promise<void> {
  if (!room.chatLog.inSync) await room.chatLog.whenInSync(stream)
  const { chatId, retryMs, chatLog: { position, replay: history } } = room
  const hello = ready(chatId, position, false, retryMs)
  if (history === undefined || (after === undefined && rewind === 0)) room.attach(stream, [hello])
  else if (after === 'invalid') room.attach(stream, [hello, reset(chatId, after, position)], after)
  else await sendMissed(room, history, { stream, position: after, resumes: after !== undefined, rewind, greeted: false })
}

/** A client that catches up. */
interface Client {
  readonly stream: EventSink
  /** The last event that it has; `undefined` where it is still to be found out where it begins. */
  position: Cursor | undefined
  readonly resumes: boolean
  readonly rewind: number
  greeted: boolean
}

/** Reads and writes what the client missed until it is attached, or gone. */
async function sendMissed (room: CatchUpTarget, replay: LogReplay, client: Client): Promise<void> {
  const { stream } = client
  while (!stream.closed) {
    if (!room.chatLog.inSync) await room.chatLog.whenInSync(stream)
    if (attachIfNear(room, client)) return
    // The chats of one stream take turns, so that it holds one page at a time, and asks for one.
    const outcome = await stream.inTurn(() => step(room, replay, client))
    if (outcome === 'attached') return
    if (outcome === 'failed') await pause(replay.retryMs, stream)
  }
}

/** Attaches the client if the room still has all that it missed, and that can be written at once. */
function attachIfNear (room: CatchUpTarget, client: Client): boolean {
  const { position, stream } = client
  if (!room.chatLog.inSync || isDoubtful(room, client)) return false
  const missed = position && room.chatLog.recent.after(position, CHUNK_BYTES)
  if (position === undefined || missed === undefined) return false
  const isAll = missed.length === 0 || sameCursor((missed.at(-1) as ChatFrame).cursor as Cursor, room.chatLog.recent.head)
  if (!isAll || (missed.length > 0 && (bytesOf(missed) > CHUNK_BYTES || stream.crowded))) return false
  room.attach(stream, [...greeting(room, client, position), ...missed])
  return true
}

/** Whether events may be missing behind a position that the client comes with. */
function isDoubtful (room: CatchUpTarget, client: Client): boolean {
  return room.chatLog.isUnproven && client.resumes
}

/** What a step came to: `failed` says that the log could not be read. */
type Outcome = 'attached' | 'again' | 'failed'

/** Brings the client a page further. */
async function step (room: CatchUpTarget, replay: LogReplay, client: Client): Promise<Outcome> {
  // Meanwhile it was the turn of others.
  if (!room.chatLog.inSync || client.stream.closed) return 'again'
  try {
    if (client.position === undefined) client.position = await rewound(room, replay, client.rewind)
    else if (isDoubtful(room, client) || !room.chatLog.recent.has(client.position)) {
      return await stepFrom(room, replay, client, client.position)
    } else await write(room, client, room.chatLog.recent, CHUNK_BYTES)
    return 'again'
  } catch {
    // Where the room can't read the log either, it is not level until it can.
    await room.chatLog.sync()
    return 'failed'
  }
}

/** The same from where the room's last frames don't reach back to. */
async function stepFrom (room: CatchUpTarget, replay: LogReplay, client: Client, position: Cursor): Promise<Outcome> {
  const found = isDoubtful(room, client) ? 'failover' : await find(room, replay, position)
  if (typeof found !== 'string') {
    await write(room, client, found, budgets.clientPage)
  } else if (!client.resumes && !client.greeted) {
    // The start was trimmed meanwhile. A new client has missed nothing, so it gets a new start.
    replay.forget()
    client.position = undefined
  } else if (room.chatLog.inSync) {
    // Only the reset moves its place: if the connection breaks before that has come, it has to be told again.
    const frames = [...greeting(room, client, position, false), reset(room.chatId, found, room.chatLog.position)]
    room.attach(client.stream, frames, found)
    return 'attached'
  }
  return 'again'
}

/** Writes what comes after the client's place in a run, up to so many bytes, as fast as the client takes it. */
async function write (room: CatchUpTarget, client: Client, run: ReplayBuffer, most: number): Promise<void> {
  for (let written = 0; written < most && !client.stream.closed;) {
    const position = client.position as Cursor // Only a client that has one gets here.
    const chunk = run.after(position, CHUNK_BYTES)
    // While the client took the last one, the run may have dropped the next.
    if (chunk === undefined || chunk.length === 0) return
    const frames = [...greeting(room, client, position), ...chunk]
    client.position = (chunk.at(-1) as ChatFrame).cursor
    written += bytesOf(chunk)
    await client.stream.writeAndDrain(concat(frames), frames)
    // A client that takes all at once would else keep the process busy to the end of the log.
    await new Promise(setImmediate)
  }
}

/** What comes before the first frame that the client gets, from a place on. */
function greeting (room: CatchUpTarget, client: Client, at: Cursor, resumed = client.resumes): ChatFrame[] {
  if (client.greeted) return []
  client.greeted = true
  return [ready(room.chatId, at, resumed, room.retryMs)]
}

/** Reads past the last frames of the room. Returns events, why there are none, or none where the room has them now. */
async function find (room: CatchUpTarget, replay: LogReplay, position: Cursor): Promise<ReplayBuffer | LogGap> {
  const head = room.chatLog.position as Cursor // It is level.
  // The client was last on an instance that had received more events than this one.
  const isAhead = position.epoch === head.epoch && position.offset > head.offset
  const shared = isAhead ? undefined : (await replay.shared(room.chatLog.recent.base)).buffer
  if (shared?.has(position) === true && !sameCursor(shared.head, position)) return shared
  // What is shared may be old, and the room behind: only the log itself knows whether there is a gap.
  const found = await replay.after(position)
  if (typeof found !== 'string' && found.size > 0) return found
  await room.chatLog.sync()
  return found
}

/** The place before the last `count` events that are left. */
async function rewound (room: CatchUpTarget, replay: LogReplay, count: number): Promise<Cursor> {
  if (room.chatLog.recent.size >= count) return room.chatLog.recent.before(count)
  const { buffer: run, whole } = await replay.shared(room.chatLog.recent.base)
  // Since it was read, some of them may have been published.
  const missing = Math.max(0, count - (room.chatLog.position as Cursor).offset + run.head.offset)
  return missing <= run.size || whole ? run.before(missing) : await replay.start(count)
}

/** Resolves after so many milliseconds, or when the stream closes. */
function pause (ms: number, stream: EventSink): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      off()
      clearTimeout(timer)
      resolve()
    }
    const off = stream.onClose(done)
    const timer = setTimeout(done, ms).unref()
  })
}

function bytesOf (frames: readonly ChatFrame[]): number {
  return frames.reduce((sum, { bytes }) => sum + bytes.length, 0)
}
