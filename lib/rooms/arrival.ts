import { sameCursor, type Cursor } from '../cursor.ts'
import { budgets } from '../options.ts'
import type { LogGap } from '../pubsub/provider.ts'
import type { Backlog } from './backlog.ts'
import type { ChatLog } from './chat-log.ts'
import { concat, ready, reset, type ChatFrame, type ResetReason } from './control-frames.ts'
import type { History } from './history.ts'
import type { Stream } from './stream.ts'

/** Where a client wants to go on from. */
export interface Arrival {
  /** The last event that it has; `invalid` where it sent something else. */
  after?: Cursor | 'invalid' | undefined
  /** How many of the last events a new client wants. */
  rewind?: number | undefined
}

/** The room that a stream arrives in. */
export interface Destination {
  readonly chatId: string
  readonly retryMs: number
  readonly chatLog: Pick<ChatLog, 'inSync' | 'isUnproven' | 'position' | 'recent' | 'history' | 'whenInSync' | 'sync'>
  /** Writes the frames, and makes the stream get what comes from now on. `reason` says that a reset is among them. */
  attach (stream: Stream, frames: ChatFrame[], reason?: ResetReason): void
}

/** How many bytes a client that reconnects is written at once. */
const CHUNK_BYTES = 65_536

/**
 * Brings a stream level with its room: writes `ready`, then what the client missed, and attaches it in the same turn in which nothing is
 * left to write. Never rejects.
 */
export async function arrive (room: Destination, stream: Stream, { after, rewind = 0 }: Arrival): Promise<void> {
  if (!room.chatLog.inSync) await room.chatLog.whenInSync(stream)
  const { chatId, retryMs, chatLog: { position, history } } = room
  const hello = ready(chatId, position, false, retryMs)
  if (history === undefined || (after === undefined && rewind === 0)) room.attach(stream, [hello])
  else if (after === 'invalid') room.attach(stream, [hello, reset(chatId, after, position)], after)
  else await catchUp(room, history, { stream, place: after, resumes: after !== undefined, rewind, greeted: false })
}

/** A client that catches up. */
interface Client {
  readonly stream: Stream
  /** The last event that it has; `undefined` where it is still to be found out where it begins. */
  place: Cursor | undefined
  readonly resumes: boolean
  readonly rewind: number
  greeted: boolean
}

/** Reads and writes what the client missed until it is attached, or gone. */
async function catchUp (room: Destination, history: History, client: Client): Promise<void> {
  const { stream } = client
  while (!stream.closed) {
    if (!room.chatLog.inSync) await room.chatLog.whenInSync(stream)
    if (attachIfNear(room, client)) return
    // The chats of one stream take turns, so that it holds one page at a time, and asks for one.
    const outcome = await stream.inTurn(() => step(room, history, client))
    if (outcome === 'attached') return
    if (outcome === 'failed') await pause(history.retryMs, stream)
  }
}

/** Attaches the client if the room still has all that it missed, and that can be written at once. */
function attachIfNear (room: Destination, client: Client): boolean {
  const { place, stream } = client
  if (!room.chatLog.inSync || isDoubtful(room, client)) return false
  const missed = place && room.chatLog.recent.after(place, CHUNK_BYTES)
  if (place === undefined || missed === undefined) return false
  const isAll = missed.length === 0 || sameCursor((missed.at(-1) as ChatFrame).cursor as Cursor, room.chatLog.recent.top)
  if (!isAll || (missed.length > 0 && (bytesOf(missed) > CHUNK_BYTES || stream.crowded))) return false
  room.attach(stream, [...greeting(room, client, place), ...missed])
  return true
}

/** Whether events may be missing behind a position that the client comes with. */
function isDoubtful (room: Destination, client: Client): boolean {
  return room.chatLog.isUnproven && client.resumes
}

/** What a step came to: `failed` says that the log could not be read. */
type Outcome = 'attached' | 'again' | 'failed'

/** Brings the client a page further. */
async function step (room: Destination, history: History, client: Client): Promise<Outcome> {
  // Meanwhile it was the turn of others.
  if (!room.chatLog.inSync || client.stream.closed) return 'again'
  try {
    if (client.place === undefined) client.place = await rewound(room, history, client.rewind)
    else if (isDoubtful(room, client) || !room.chatLog.recent.has(client.place)) {
      return await stepFrom(room, history, client, client.place)
    } else await write(room, client, room.chatLog.recent, CHUNK_BYTES)
    return 'again'
  } catch {
    // Where the room can't read the log either, it is not level until it can.
    await room.chatLog.sync()
    return 'failed'
  }
}

/** The same from where the room's last frames don't reach back to. */
async function stepFrom (room: Destination, history: History, client: Client, place: Cursor): Promise<Outcome> {
  const found = isDoubtful(room, client) ? 'failover' : await find(room, history, place)
  if (typeof found !== 'string') {
    await write(room, client, found, budgets.clientPage)
  } else if (!client.resumes && !client.greeted) {
    // The start was trimmed meanwhile. A new client has missed nothing, so it gets a new start.
    history.forget()
    client.place = undefined
  } else if (room.chatLog.inSync) {
    // Only the reset moves its place: if the connection breaks before that has come, it has to be told again.
    const frames = [...greeting(room, client, place, false), reset(room.chatId, found, room.chatLog.position)]
    room.attach(client.stream, frames, found)
    return 'attached'
  }
  return 'again'
}

/** Writes what comes after the client's place in a run, up to so many bytes, as fast as the client takes it. */
async function write (room: Destination, client: Client, run: Backlog, most: number): Promise<void> {
  for (let written = 0; written < most && !client.stream.closed;) {
    const place = client.place as Cursor // Only a client that has one gets here.
    const chunk = run.after(place, CHUNK_BYTES)
    // While the client took the last one, the run may have dropped the next.
    if (chunk === undefined || chunk.length === 0) return
    const frames = [...greeting(room, client, place), ...chunk]
    client.place = (chunk.at(-1) as ChatFrame).cursor
    written += bytesOf(chunk)
    await client.stream.writeAndDrain(concat(frames), frames)
    // A client that takes all at once would else keep the process busy to the end of the log.
    await new Promise(setImmediate)
  }
}

/** What comes before the first frame that the client gets, from a place on. */
function greeting (room: Destination, client: Client, at: Cursor, resumed = client.resumes): ChatFrame[] {
  if (client.greeted) return []
  client.greeted = true
  return [ready(room.chatId, at, resumed, room.retryMs)]
}

/** Reads past the last frames of the room. Returns events, why there are none, or none where the room has them now. */
async function find (room: Destination, history: History, place: Cursor): Promise<Backlog | LogGap> {
  const position = room.chatLog.position as Cursor // It is level.
  // The client was last on an instance that had received more events than this one.
  const isAhead = place.epoch === position.epoch && place.offset > position.offset
  const shared = isAhead ? undefined : (await history.shared(room.chatLog.recent.base)).run
  if (shared?.has(place) === true && !sameCursor(shared.top, place)) return shared
  // What is shared may be old, and the room behind: only the log itself knows whether there is a gap.
  const found = await history.after(place)
  if (typeof found !== 'string' && found.size > 0) return found
  await room.chatLog.sync()
  return found
}

/** The place before the last `count` events that are left. */
async function rewound (room: Destination, history: History, count: number): Promise<Cursor> {
  if (room.chatLog.recent.size >= count) return room.chatLog.recent.before(count)
  const { run, whole } = await history.shared(room.chatLog.recent.base)
  // Since it was read, some of them may have been published.
  const missing = Math.max(0, count - (room.chatLog.position as Cursor).offset + run.top.offset)
  return missing <= run.size || whole ? run.before(missing) : await history.start(count)
}

/** Resolves after so many milliseconds, or when the stream closes. */
function pause (ms: number, stream: Stream): Promise<void> {
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
