import { sameCursor, type Cursor } from '../pubsub/cursor.ts'
import { NO_FRAMES, type FrameRun, type ReplayBuffer } from './replay-buffer.ts'
import type { ChatLog } from './chat-log.ts'
import { readyFrame, resetFrame, type ChatFrame, type ResetReason } from './frames.ts'
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
  /**
   * Writes the frames and the missed ones after them, and subscribes the stream to later events. `reason` is set if the
   * frames include a reset.
   */
  attach (stream: EventSink, frames: ChatFrame[], missed: FrameRun, reason?: ResetReason): void
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
  const { chatId, retryMs, chatLog: { position } } = room
  const ready = readyFrame(chatId, position, false, retryMs)
  const replay = after === undefined && rewind === 0 ? undefined : room.chatLog.replay
  if (replay === undefined) room.attach(stream, [ready], NO_FRAMES)
  else if (after === 'invalid') {
    room.attach(stream, [ready, resetFrame(chatId, 'invalid', position)], NO_FRAMES, 'invalid')
  } else await new CatchUp(room, stream, replay, after, rewind).untilAttached()
}

/** The result of a step. After `unattached`, another step follows. `failed` means that the log could not be read. */
type StepResult = 'attached' | 'unattached' | 'failed'

/** One stream that catches up with a log: its client has a position, or wants past events. */
class CatchUp {
  readonly #room: CatchUpTarget
  readonly #stream: EventSink
  readonly #replay: LogReplay
  readonly #rewind: number
  /** True if the client sent a position. */
  readonly #resumes: boolean
  /** The position that the client has reached; `undefined` until the start of a new client is known. */
  #position: Cursor | undefined
  #readySent = false

  constructor (
    room: CatchUpTarget, stream: EventSink, replay: LogReplay, after: Cursor | undefined, rewind: number
  ) {
    this.#room = room
    this.#stream = stream
    this.#replay = replay
    this.#position = after
    this.#resumes = after !== undefined
    this.#rewind = rewind
  }

  /** Reads and writes the missed events until the client is attached or disconnected. */
  async untilAttached (): Promise<void> {
    const { chatLog } = this.#room
    while (!this.#stream.closed) {
      if (!chatLog.inSync) await chatLog.whenInSync(this.#stream)
      if (this.#attachIfNear()) return
      // The chats of one stream take turns, so that a stream requests and holds only one page at a time.
      const result = await this.#stream.inTurn(() => this.#step())
      if (result === 'attached') return
      if (result === 'failed') await pause(this.#replay.retryMs, this.#stream)
    }
  }

  /** The position of the last event of the log. */
  get #head (): Cursor {
    return this.#room.chatLog.position as Cursor // It is set once the log has been in sync.
  }

  /** True if the client sent a position and events may be missing after it. */
  get #isDoubtful (): boolean {
    return this.#room.chatLog.isUnproven && this.#resumes
  }

  /**
   * Attaches the client if the replay buffer has all missed events and they are few enough for one write. Must not
   * await: an event that arrived between the check and `attach` would be lost.
   */
  #attachIfNear (): boolean {
    const { inSync, recent } = this.#room.chatLog
    const position = this.#position
    if (!inSync || this.#isDoubtful || position === undefined) return false
    const missed = recent.after(position, CHUNK_BYTES)
    if (missed === undefined) return false
    if (missed.frames.length > 0) {
      const isAll = sameCursor(endOf(missed), recent.head)
      if (!isAll || missed.bytes.length > CHUNK_BYTES || this.#stream.crowded) return false
    }
    this.#room.attach(this.#stream, this.#readyIfFirst(position), missed)
    return true
  }

  /** Finds the start of a new client, writes about one page of missed events, or attaches the stream. */
  async #step (): Promise<StepResult> {
    const { chatLog } = this.#room
    const position = this.#position
    // Check again: this may have changed while other chats of the stream had their turn.
    if (!chatLog.inSync || this.#stream.closed) return 'unattached'
    try {
      if (position === undefined) this.#position = await this.#rewindStart()
      else if (this.#isDoubtful || !chatLog.recent.has(position)) return await this.#stepFromLog(position)
      else await this.#writeAfter(position, chatLog.recent, CHUNK_BYTES)
      return 'unattached'
    } catch {
      // If the room can't read the log either, it is no longer in sync, and `untilAttached` waits until it is.
      await chatLog.sync()
      return 'failed'
    }
  }

  /** Does a step from a position that the replay buffer does not cover. */
  async #stepFromLog (position: Cursor): Promise<StepResult> {
    const { chatId, chatLog } = this.#room
    const missed = this.#isDoubtful ? 'failover' : await this.#readMissed(position)
    if (typeof missed !== 'string') {
      await this.#writeAfter(position, missed, budgets.clientPage)
    } else if (!this.#resumes && !this.#readySent) {
      // The rewind start was trimmed meanwhile. A new client needs no reset, so choose a new start.
      this.#replay.dropLastPage()
      this.#position = undefined
    } else if (chatLog.inSync) {
      // `ready` carries the old position, and only the reset moves it. If the connection breaks before the reset
      // arrives, the client gets a reset again.
      const reset = resetFrame(chatId, missed, chatLog.position)
      this.#room.attach(this.#stream, [...this.#readyIfFirst(position, false), reset], NO_FRAMES, missed)
      return 'attached'
    }
    return 'unattached'
  }

  /** Writes the events of a buffer after a position, about `maxBytes` bytes at most, at the client's pace. */
  async #writeAfter (from: Cursor, buffer: ReplayBuffer, maxBytes: number): Promise<void> {
    let position = from
    for (let written = 0; written < maxBytes && !this.#stream.closed;) {
      const run = buffer.after(position, CHUNK_BYTES)
      // The buffer may have dropped the next events while the client received the last chunk.
      if (run === undefined || run.frames.length === 0) return
      const ready = this.#readyIfFirst(position)
      this.#position = position = endOf(run)
      written += run.bytes.length
      await this.#stream.writeAndDrain([...ready.map(({ bytes }) => bytes), run.bytes], [...ready, ...run.frames])
      // Yield, since a fast client would otherwise keep the process busy until the end of the log.
      await new Promise(setImmediate)
    }
  }

  /** Returns the `ready` frame if the client has not got it yet. */
  #readyIfFirst (at: Cursor, resumed = this.#resumes): ChatFrame[] {
    if (this.#readySent) return []
    this.#readySent = true
    return [readyFrame(this.#room.chatId, at, resumed, this.#room.retryMs)]
  }

  /**
   * Reads the events after a position that the replay buffer does not cover. Returns events, the reason of a gap, or an
   * empty buffer if the caller must try again.
   */
  async #readMissed (position: Cursor): Promise<ReplayBuffer | LogGap> {
    const { chatLog } = this.#room
    const head = this.#head
    // The client was last on an instance that had received more events than this one.
    const isAhead = position.epoch === head.epoch && position.offset > head.offset
    const lastPage = isAhead ? undefined : (await this.#replay.lastPage(chatLog.recent.base)).buffer
    if (lastPage?.has(position) === true && !sameCursor(lastPage.head, position)) return lastPage
    // The shared page may be old and the room behind, so only the log itself can show a gap.
    const missed = await this.#replay.readAfter(position)
    if (typeof missed !== 'string' && missed.size > 0) return missed
    // No event follows. Sync the room, so that it is not behind the position or the gap.
    await chatLog.sync()
    return missed
  }

  /** Returns the position before the latest events that a new client wants, as far as the log still has them. */
  async #rewindStart (): Promise<Cursor> {
    const { chatLog } = this.#room
    const count = this.#rewind
    if (chatLog.recent.size >= count) return chatLog.recent.before(count)
    const { buffer, isWhole } = await this.#replay.lastPage(chatLog.recent.base)
    // The shared page may be old: subtract the events that were published since.
    const fromPage = Math.max(0, count - (this.#head.offset - buffer.head.offset))
    return fromPage <= buffer.size || isWhole ? buffer.before(fromPage) : await this.#replay.startOfLast(count)
  }
}

/** Resolves after `ms` milliseconds, or when the stream closes. */
function pause (ms: number, stream: EventSink): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      removeCallback()
      clearTimeout(timer)
      resolve()
    }
    const removeCallback = stream.onClose(finish)
    const timer = setTimeout(finish, ms).unref()
  })
}

/** Returns the position that a client reaches with a run of a replay buffer: each of them has a position. */
function endOf ({ frames }: FrameRun): Cursor {
  return (frames.at(-1) as ChatFrame).cursor as Cursor
}
