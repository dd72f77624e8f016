import type { Cursor } from '../cursor.ts'
import type { LogGap } from '../pubsub/provider.ts'
import type { Backlog, Reached } from './backlog.ts'
import { ready, reset, type ResetReason } from './control-frames.ts'
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
  /** Whether nothing that comes is missed. */
  readonly isLevel: boolean
  /** Whether acknowledged events may be missing behind any position, which the log itself does not say for now. */
  readonly isUnproven: boolean
  /** The place behind the last event; `undefined` where there is no log. */
  readonly position: Cursor | undefined
  /** The last frames, up to the position. */
  readonly recent: Backlog
  /** What the log has left; `undefined` where there is no log. */
  readonly history: History | undefined
  /** Resolves once the room is level, or the stream closed. */
  whenLevel (stream: Stream): Promise<void>
  /** Reads the log to its end. */
  sync (): Promise<void>
  /** Writes the frames, and makes the stream get what comes from now on. `reason` says that a reset is among them. */
  attach (stream: Stream, frames: Buffer[], reason?: ResetReason): void
}

/** How many bytes a client that comes back is written at once. */
const CHUNK_BYTES = 65_536

/**
 * Brings a stream level with its room: writes `ready`, then what the client missed, and attaches it in the same turn in which nothing is
 * left to write. Never rejects.
 */
export async function arrive (room: Destination, stream: Stream, { after, rewind = 0 }: Arrival): Promise<void> {
  if (!room.isLevel) await room.whenLevel(stream)
  const { chatId, retryMs, position, history } = room
  const greeting = ready(chatId, position, false, retryMs)
  if (after === 'invalid' && history !== undefined) room.attach(stream, [greeting, reset(chatId, 'invalid', position)], 'invalid')
  else if (history === undefined || after === 'invalid' || (after === undefined && rewind === 0)) room.attach(stream, [greeting])
  else await catchUp(room, history, stream, after, rewind)
}

async function catchUp (room: Destination, history: History, stream: Stream, after: Cursor | undefined, rewind: number): Promise<void> {
  let place = after
  let greeted = false
  const greeting = (at: Cursor, resumed: boolean): Buffer[] => greeted ? [] : [ready(room.chatId, at, resumed, room.retryMs)]
  while (!stream.closed) {
    const isDoubtful = room.isUnproven && after !== undefined
    const missed = place && !isDoubtful ? room.recent.after(place) : undefined
    if (!room.isLevel) {
      await room.whenLevel(stream)
    } else if (place === undefined) {
      place = await rewound(room, history, rewind)
    } else if (missed !== undefined && (missed.length === 0 || (bytesOf(missed) <= CHUNK_BYTES && !stream.crowded))) {
      return room.attach(stream, [...greeting(place, after !== undefined), ...missed.map(({ frame }) => frame)])
    } else {
      const found = isDoubtful ? 'failover' : missed ?? await find(room, history, place)
      if (typeof found === 'string' && after === undefined && !greeted) {
        // Where it wanted to begin is gone by now. It was nowhere, so it has missed nothing.
        history.forget()
        place = undefined
      } else if (typeof found === 'string') {
        // Only the reset moves its place: if the connection breaks before that has come, it has to be told again.
        return room.attach(stream, [...greeting(place, false), reset(room.chatId, found, room.position)], found)
      } else {
        for (const chunk of chunks(found)) {
          await stream.writeAndDrain(Buffer.concat([...greeting(place, after !== undefined), ...chunk.map(({ frame }) => frame)]))
          greeted = true
          place = (chunk.at(-1) as Reached).cursor
        }
      }
    }
  }
}

/** What comes after a place that the room's last frames don't reach back to, or why it can't be told; nothing if the room has to be asked again. */
async function find (room: Destination, history: History, place: Cursor): Promise<readonly Reached[] | LogGap> {
  const position = room.position as Cursor // It is level.
  // Who is ahead of the room was on an instance that had heard of more.
  const isAhead = place.epoch === position.epoch && place.offset > position.offset
  try {
    const shared = isAhead ? undefined : (await history.shared(room.recent.base)).after(place)
    if (shared !== undefined && shared.length > 0) return shared
    // What is shared may be old, and the room behind: only the log itself knows whether there is a gap.
    const found = await history.after(place)
    if (typeof found !== 'string' && found.length > 0) return found
    await room.sync()
    return room.isLevel ? found : []
  } catch {
    // Where it can't be read either, the room is not level until it can.
    await room.sync()
    return []
  }
}

/** The place before the last `count` events that are left; `undefined` if the room has to be asked again. */
async function rewound (room: Destination, history: History, count: number): Promise<Cursor | undefined> {
  if (room.recent.size >= count) return room.recent.before(count)
  try {
    const shared = await history.shared(room.recent.base)
    // Since it was read, some of them may have been published.
    return shared.before(Math.max(0, count - (room.position as Cursor).offset + shared.top.offset))
  } catch {
    await room.sync()
    return undefined
  }
}

function bytesOf (run: readonly Reached[]): number {
  return run.reduce((bytes, { frame }) => bytes + frame.length, 0)
}

/** Cuts a run into pieces of about `CHUNK_BYTES`. */
function * chunks (run: readonly Reached[]): Generator<Reached[]> {
  let chunk: Reached[] = []
  let bytes = 0
  for (const reached of run) {
    chunk.push(reached)
    bytes += reached.frame.length
    if (bytes < CHUNK_BYTES) continue
    yield chunk
    chunk = []
    bytes = 0
  }
  if (chunk.length > 0) yield chunk
}
