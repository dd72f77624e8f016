import { bindContext } from '../core/async-context.ts'
import type { ChatEventHandler } from '../event-types.ts'
import { formatCursor, type Cursor } from '../pubsub/cursor.ts'
import { ListenerSet } from '../core/listener-set.ts'
import { parseEvent } from './chat-event.ts'
import type { Field, StateStore } from '../pubsub/state-store.ts'
import { logRepeated, originOf, type RepeatedFailure } from '../observability/repeated-failure.ts'
import { encodeFrame } from '../sse/frame.ts'
import { delivering, type DeliverTrace } from '../observability/tracing.ts'
import { catchUp, type ResumeRequest, type CatchUpTarget } from './catch-up.ts'
import { ChatLog, type ChatLogContext } from './chat-log.ts'
import { ChatFrame, concat, entryFrame, resetFrame, type ResetReason } from './frames.ts'
import type { MakeProjection, ProjectedRoom, StateProjection } from './state-projection.ts'
import { StateReplica } from './state-replica.ts'
import type { EventSink } from './event-sink.ts'
import { budgets } from '../core/budgets.ts'
import type { Envelope, LogEntry } from '../pubsub/event-log.ts'

/** The parts and settings that all rooms of an instance share. */
export interface RoomContext extends ChatLogContext {
  /** The state that the provider keeps beside the log, if it keeps one. */
  state?: StateStore | undefined
  /** Create the projections of a room, which present the state to its streams. */
  projections?: readonly MakeProjection[] | undefined
  /** Milliseconds after which a disconnected client reconnects. */
  retryMs: number
}

const HANDLER_FAILED: RepeatedFailure = { level: 'error', message: 'A handler of chat events failed' }

const NOT_JSON: RepeatedFailure = { level: 'error', message: 'A received chat event is not JSON' }

const STATE_UNREADABLE: RepeatedFailure = { level: 'warn', message: 'The state of a chat cannot be read, trying again' }

/** The streams and handlers of one chat on this instance. Each event goes to all of them. */
export class Room implements CatchUpTarget, ProjectedRoom {
  readonly chatId: string
  readonly retryMs: number
  readonly chatLog: ChatLog
  readonly #context: RoomContext
  readonly #onEmpty: () => void
  readonly #handlers: ListenerSet<Parameters<ChatEventHandler>>
  readonly #streams = new Set<EventSink>()
  /** Streams that are still catching up. */
  readonly #joining = new Set<EventSink>()
  /** The state of the chat; `undefined` if there is none, or no projection presents it. */
  readonly #state: StateReplica | undefined
  readonly #projections: readonly StateProjection[] = []
  /** Frames of this turn of the event loop. They go out as one write, since the system call is the main cost. */
  #pending: ChatFrame[] = []
  #pendingBytes = 0

  /** `onEmpty` is called when there is no stream or handler, also again when that was so before. */
  constructor (chatId: string, channel: string, context: RoomContext, onEmpty: () => void) {
    this.chatId = chatId
    this.retryMs = context.retryMs
    this.#context = context
    this.#onEmpty = onEmpty
    this.#handlers = new ListenerSet((err) => logRepeated(context.log, HANDLER_FAILED, { chatId, err }, originOf(err)))
    this.chatLog = new ChatLog(chatId, channel, context, {
      entry: (entry) => this.#receive(entry),
      unlogged: (envelope) => this.emit(envelope),
      reset: (reason, at) => this.#reset(reason, at),
      headRead: (head) => this.#state?.syncTo(head?.state)
    })
    const { state, projections = [], log, eventLog, reads } = context
    if (eventLog === undefined || state === undefined || projections.length === 0) return
    this.#state = new StateReplica(channel, state, reads, {
      field: (...args) => { for (const each of this.#projections) each.field(...args) },
      // If the state has vanished, the log may be lost as well.
      vanished: () => { this.chatLog.sync() },
      readFailed: ({ message }) => logRepeated(log, STATE_UNREADABLE, { chatId, reason: message })
    })
    this.#projections = projections.map((make) => make(this))
  }

  get fields (): ReadonlyMap<string, Field> {
    return (this.#state as StateReplica).fields // Only projections use it, and there are none without a state.
  }

  get isEmpty (): boolean {
    return this.#streams.size + this.#joining.size + this.#handlers.size === 0
  }

  addHandler (handler: ChatEventHandler): void {
    this.#handlers.add(handler, bindContext(handler))
  }

  deleteHandler (handler: ChatEventHandler): void {
    this.#handlers.delete(handler)
    this.reportIfEmpty()
  }

  /**
   * Adds a stream. Once the room is in sync, it gets `ready`, then the events that its client missed, and then every
   * later event.
   */
  join (stream: EventSink, resume: ResumeRequest = {}): void {
    if (stream.closed) return this.reportIfEmpty()
    this.#joining.add(stream)
    stream.onClose(() => {
      this.#joining.delete(stream)
      this.#streams.delete(stream)
      this.reportIfEmpty()
    })
    catchUp(this, stream, resume)
  }

  attach (stream: EventSink, frames: ChatFrame[], reason?: ResetReason): void {
    // Flush to the other streams first: for this stream, pending frames are part of `frames` or precede its start.
    this.#flush()
    // No await from here on: the stream gets all changes that are made after the snapshot.
    const all = [...frames, ...this.#projections.flatMap((projection) => projection.snapshot()).map(withoutId)]
    const chunk = concat(all)
    stream.write(chunk, all)
    this.#countWritten(1, all.length, chunk.length)
    if (reason !== undefined) this.#context.metrics.resets.add(reason)
    if (this.#joining.delete(stream)) this.#streams.add(stream)
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
    if (this.isEmpty) this.#onEmpty()
  }

  /** Ends the streams and removes the handlers. */
  close (): void {
    this.#flush()
    this.chatLog.close()
    this.#state?.close()
    this.#handlers.clear()
    for (const stream of [...this.#streams, ...this.#joining]) stream.end()
  }

  /** Passes the next entry of the log to every stream and handler. */
  #receive (entry: LogEntry): void {
    for (const { event } of this.#projections) if (event?.name === entry.event) event.receive(entry)
    this.#write(() => entryFrame(this.chatId, entry), entry.timestamp)
    if (entry.position.isMarker) return this.#afterReset('failover')
    this.#trace(entry)
    this.#handle(entry)
  }

  #reset (reason: ResetReason, at?: Cursor): void {
    this.#write(() => resetFrame(this.chatId, reason, at))
    this.#afterReset(reason)
  }

  #afterReset (reason: ResetReason): void {
    // A client that reloads discards its state, so all fields are reported again.
    this.#state?.forget()
    this.#context.metrics.resets.add(reason, this.#streams.size)
  }

  #handle ({ timestamp, from, event, json, position, traceparent }: Envelope): void {
    if (this.#handlers.size === 0) return
    const id = position && formatCursor(position)
    try {
      const parsed = parseEvent(event, json)
      if (parsed !== undefined) this.#handlers.notify(parsed, { timestamp, from, id, traceparent })
    } catch (err) {
      logRepeated(this.#context.log, NOT_JSON, { chatId: this.chatId, err })
    }
  }

  /** Writes a frame to every stream. If there is no stream, the frame is not encoded. */
  #write (encode: () => ChatFrame, publishedAt?: number): void {
    if (this.#streams.size === 0) return
    const frame = encode()
    if (this.#pending.length === 0) setImmediate(() => this.#flush())
    this.#pending.push(frame)
    this.#pendingBytes += frame.bytes.length
    if (this.#pendingBytes > budgets.turn) this.#flush()
    if (publishedAt !== undefined) this.#context.metrics.onWritten?.(Math.max(0, Date.now() - publishedAt) / 1_000)
  }

  #flush (): void {
    const pending = this.#pending
    if (pending.length === 0) return
    const chunk = concat(pending)
    this.#countWritten(this.#streams.size, pending.length, chunk.length)
    this.#pending = []
    this.#pendingBytes = 0
    for (const stream of this.#streams) stream.write(chunk, pending)
  }

  #trace ({ event, position, traceparent }: Envelope): void {
    if (!delivering.hasSubscribers) return
    const id = position && formatCursor(position)
    const trace: DeliverTrace = { chatId: this.chatId, event, id, traceparent, streams: this.#streams.size }
    delivering.publish(trace)
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
