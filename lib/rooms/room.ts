import { bindContext } from '../core/async-context.ts'
import type { ChatEventHandler } from '../event-types.ts'
import { formatCursor, type Cursor } from '../pubsub/cursor.ts'
import { notifyEach } from '../core/listeners.ts'
import { parseEvent } from './chat-event.ts'
import type { Field, StateStore } from '../pubsub/state-store.ts'
import { logRepeated, originOf, type RepeatedFailure } from '../observability/repeated-failure.ts'
import { bytesOf, encodeFrame } from '../sse/frame.ts'
import { delivering, type DeliverTrace } from '../observability/tracing.ts'
import { catchUp, type ResumeRequest, type CatchUpTarget } from './catch-up.ts'
import { ChatLog, type ChatLogContext, type ChatLogEvents } from './chat-log.ts'
import { ChatFrame, concat, entryFrame, resetFrame, type ResetReason } from './frames.ts'
import type { ProjectedRoom, ProjectionFactory, StateProjection } from './state-projection.ts'
import type { FrameRun } from './replay-buffer.ts'
import { StateReplica, type StateReplicaEvents } from './state-replica.ts'
import type { EventSink } from './event-sink.ts'
import { budgets } from '../core/budgets.ts'
import type { Envelope, LogEntry, LogHead } from '../pubsub/event-log.ts'

/** The parts and settings that all rooms of an instance share. */
export interface RoomContext extends ChatLogContext {
  /** The state that the provider keeps beside the log, if it keeps one. */
  state?: StateStore | undefined
  /** The factories of the projections of a room, which present the state to its streams. */
  projections?: readonly ProjectionFactory[] | undefined
  /** Milliseconds after which a disconnected client reconnects. */
  retryMs: number
}

/** A handler of the app. */
interface BoundHandler {
  readonly handler: ChatEventHandler
  /** The handler, bound to the AsyncLocalStorage context in which it was added. */
  readonly call: ChatEventHandler
}

const HANDLER_FAILED: RepeatedFailure = { level: 'error', message: 'A handler of chat events failed' }

const NOT_JSON: RepeatedFailure = { level: 'error', message: 'A received chat event is not JSON' }

const STATE_UNREADABLE: RepeatedFailure = { level: 'warn', message: 'The state of a chat cannot be read, trying again' }

/** The streams and handlers of one chat on this instance. Each event goes to all of them. */
export class Room implements CatchUpTarget, ProjectedRoom {
  // The next two are classes, since a closure for each method would take more memory than the rest of an idle room.

  /** Handles what the log of the room reports. */
  static readonly #LogEvents = class implements ChatLogEvents {
    readonly #room: Room

    constructor (room: Room) {
      this.#room = room
    }

    /** Passes the next entry of the log to every stream and handler. */
    entry (entry: LogEntry): void {
      const room = this.#room
      room.#project(entry)
      room.#write(() => entryFrame(room.chatId, entry), entry.timestamp)
      if (entry.position.isMarker) return room.#afterReset('failover')
      room.#trace(entry)
      room.#handle(entry)
    }

    unlogged (envelope: Envelope): void {
      this.#room.emit(envelope)
    }

    reset (reason: ResetReason, at?: Cursor): void {
      const room = this.#room
      room.#write(() => resetFrame(room.chatId, reason, at))
      room.#afterReset(reason)
    }

    headRead (head: LogHead | undefined): void {
      this.#room.#state?.syncTo(head?.state)
    }
  }

  /** Handles what the replica of the state reports. */
  static readonly #StateEvents = class implements StateReplicaEvents {
    readonly #room: Room

    constructor (room: Room) {
      this.#room = room
    }

    field (...change: Parameters<StateReplicaEvents['field']>): void {
      for (const projection of this.#room.#projections) projection.field(...change)
    }

    vanished (): void {
      // If the state has vanished, the log may be lost as well.
      this.#room.chatLog.sync()
    }

    readFailed ({ message }: Error): void {
      const { chatId } = this.#room
      logRepeated(this.#room.#context.log, STATE_UNREADABLE, { chatId, reason: message })
    }
  }

  readonly chatId: string
  readonly retryMs: number
  readonly chatLog: ChatLog
  readonly #context: RoomContext
  readonly #onEmpty: (room: Room) => void
  /** `undefined` until there is a handler. */
  #handlers: Set<BoundHandler> | undefined
  readonly #streams = new Set<EventSink>()
  /** Streams that are still catching up; `undefined` if there is none. */
  #joining: Set<EventSink> | undefined
  /** The state of the chat; `undefined` if there is none, or no projection presents it. */
  readonly #state: StateReplica | undefined
  readonly #projections: readonly StateProjection[] = []
  /**
   * Frames of this turn of the event loop; `undefined` if there is none. They go out as one write, since the system
   * call is the main cost. An array that waited for the next turn would be old by then, and V8 collects what an old
   * array holds much later.
   */
  #pending: ChatFrame[] | undefined
  #pendingBytes = 0

  /** `onEmpty` is called when there is no stream or handler, also again when that was so before. */
  constructor (chatId: string, channel: string, context: RoomContext, onEmpty: (room: Room) => void) {
    this.chatId = chatId
    this.retryMs = context.retryMs
    this.#context = context
    this.#onEmpty = onEmpty
    this.chatLog = new ChatLog(chatId, channel, context, new Room.#LogEvents(this))
    const { state, projections = [], eventLog, reads } = context
    if (eventLog === undefined || state === undefined || projections.length === 0) return
    this.#state = new StateReplica(channel, state, reads, new Room.#StateEvents(this))
    this.#projections = projections.map((factory) => factory.create(this))
  }

  get fields (): ReadonlyMap<string, Field> {
    return (this.#state as StateReplica).fields // Only projections use it, and there are none without a state.
  }

  get isEmpty (): boolean {
    return this.#streams.size + (this.#joining?.size ?? 0) + (this.#handlers?.size ?? 0) === 0
  }

  addHandler (handler: ChatEventHandler): void {
    if (this.#find(handler) !== undefined) return
    this.#handlers ??= new Set()
    this.#handlers.add({ handler, call: bindContext(handler) })
  }

  deleteHandler (handler: ChatEventHandler): void {
    const found = this.#find(handler)
    if (found !== undefined) this.#handlers?.delete(found)
    this.reportIfEmpty()
  }

  /**
   * Adds a stream. Once the room is in sync, it gets `ready`, then the events that its client missed, and then every
   * later event.
   */
  join (stream: EventSink, resume: ResumeRequest = {}): void {
    if (stream.closed) return this.reportIfEmpty()
    this.#joining ??= new Set()
    this.#joining.add(stream)
    stream.onClose(() => {
      this.#stopJoining(stream)
      this.#streams.delete(stream)
      this.reportIfEmpty()
    })
    catchUp(this, stream, resume)
  }

  attach (stream: EventSink, frames: ChatFrame[], missed: FrameRun, reason?: ResetReason): void {
    // Flush to the other streams first: for this stream, pending frames are part of these or precede its start.
    this.#flush()
    // No await from here on: the stream gets all changes that are made after the snapshot.
    const state = this.#projections.flatMap((projection) => projection.snapshot())
    const all = [...frames, ...missed.frames, ...state.map(withoutId)]
    const bytes = [...frames.map((frame) => frame.bytes), missed.bytes, ...state]
    stream.write(bytes, all)
    this.#countWritten(1, all.length, bytesOf(bytes))
    if (reason !== undefined) this.#context.metrics.resets.add(reason)
    if (this.#stopJoining(stream)) this.#streams.add(stream)
  }

  /** Passes an event without a position to every stream and handler. */
  emit (envelope: Envelope): void {
    this.#write(() => withoutId(encodeFrame({ event: envelope.event, json: envelope.json })), envelope.timestamp)
    this.#trace(envelope)
    this.#handle(envelope)
  }

  /** Writes a frame without an id to every stream. */
  write (frame: Buffer): void {
    this.#write(() => withoutId(frame))
  }

  /** Compares the replica of the state with the store. */
  pollState (): void {
    this.#state?.poll()
  }

  /** Calls `onEmpty` if there is no stream or handler. Called when one has left, or was not added after all. */
  reportIfEmpty (): void {
    if (this.isEmpty) this.#onEmpty(this)
  }

  /** Ends the streams and removes the handlers. */
  close (): void {
    this.#flush()
    this.chatLog.close()
    this.#state?.close()
    this.#handlers?.clear()
    for (const stream of [...this.#streams, ...this.#joining ?? []]) stream.end()
  }

  #project (entry: LogEntry): void {
    // The names are those of the factories. All rooms share these, so they stay in the caches of the processor.
    for (const [index, { eventName }] of (this.#context.projections ?? []).entries()) {
      if (eventName === entry.event) this.#projections[index]?.receive?.(entry)
    }
  }

  #afterReset (reason: ResetReason): void {
    // A client that reloads discards its state, so all fields are reported again.
    this.#state?.forget()
    this.#context.metrics.resets.add(reason, this.#streams.size)
  }

  #handle ({ timestamp, from, event, json, position, traceparent }: Envelope): void {
    const handlers = this.#handlers
    if (handlers === undefined || handlers.size === 0) return
    const id = position && formatCursor(position)
    try {
      const parsed = parseEvent(event, json)
      if (parsed === undefined) return
      const info = { timestamp, from, id, traceparent }
      notifyEach(handlers, ({ call }) => call(parsed, info), (error) => this.#handlerFailed(error))
    } catch (err) {
      logRepeated(this.#context.log, NOT_JSON, { chatId: this.chatId, err })
    }
  }

  /** Writes a frame to every stream. If there is no stream, the frame is not encoded. */
  #write (encode: () => ChatFrame, publishedAt?: number): void {
    if (this.#streams.size === 0) return
    const frame = encode()
    if (this.#pending === undefined) {
      this.#pending = [frame]
      setImmediate(() => this.#flush())
    } else {
      this.#pending.push(frame)
    }
    this.#pendingBytes += frame.bytes.length
    if (this.#pendingBytes > budgets.turn) this.#flush()
    if (publishedAt !== undefined) this.#context.metrics.onWritten?.(Math.max(0, Date.now() - publishedAt) / 1_000)
  }

  #flush (): void {
    const pending = this.#pending
    if (pending === undefined) return
    const chunk = concat(pending)
    this.#countWritten(this.#streams.size, pending.length, chunk.length)
    this.#pending = undefined
    this.#pendingBytes = 0
    for (const stream of this.#streams) stream.write(chunk, pending)
  }

  #trace ({ event, position, traceparent }: Envelope): void {
    if (!delivering.hasSubscribers) return
    const id = position && formatCursor(position)
    const trace: DeliverTrace = { chatId: this.chatId, event, id, traceparent, streams: this.#streams.size }
    delivering.publish(trace)
  }

  #find (handler: ChatEventHandler): BoundHandler | undefined {
    for (const each of this.#handlers ?? []) if (each.handler === handler) return each
    return undefined
  }

  #handlerFailed (err: unknown): void {
    logRepeated(this.#context.log, HANDLER_FAILED, { chatId: this.chatId, err }, originOf(err))
  }

  /** Removes a stream from those that are catching up. Returns whether it was one of them. */
  #stopJoining (stream: EventSink): boolean {
    const wasJoining = this.#joining?.delete(stream) === true
    if (this.#joining?.size === 0) this.#joining = undefined
    return wasJoining
  }

  #countWritten (streams: number, frames: number, bytes: number): void {
    const { metrics } = this.#context
    metrics.deliveries += streams * frames
    metrics.bytes += streams * bytes
  }
}

function withoutId (frame: Buffer): ChatFrame {
  return new ChatFrame(undefined, frame)
}
