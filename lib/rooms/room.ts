import { bindContext } from '../async-context.ts'
import type { ChatEvent, ChatEventHandler } from '../chat-event-map.ts'
import { formatCursor, placeBefore, sameCursor, type Cursor } from '../cursor.ts'
import { Handlers } from '../handlers.ts'
import { parseJson } from '../json.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import { budgets, timing } from '../options.ts'
import type { ByteBudget } from '../pubsub/byte-budget.ts'
import { isReserved } from '../pubsub/event-name.ts'
import type { Envelope, EventLog, Follower, LogGap, Logged, LogTop } from '../pubsub/provider.ts'
import type { Field, StateStore } from '../pubsub/state-store.ts'
import { logRecovered, logRepeated, placeOf, type RecoverableFailure, type RepeatedFailure } from '../repeated-failure.ts'
import { encodeFrame } from '../sse/frame.ts'
import { traceDeliver } from '../tracing.ts'
import { arrive, type Arrival, type Destination } from './arrival.ts'
import { Backlog } from './backlog.ts'
import { frameOf, reset, type ResetReason } from './control-frames.ts'
import { History } from './history.ts'
import { LogPages } from './log-pages.ts'
import { Mirror } from './mirror.ts'
import type { ReadGate } from './read-gate.ts'
import { Sequence } from './sequence.ts'
import type { MakeView, StateView, ViewedRoom } from './state-view.ts'
import type { Stream } from './stream.ts'

/** What the rooms of an instance have in common. */
export interface RoomContext {
  log: Logger
  metrics: Metrics
  /** The log of the provider, if it keeps one, and how many events it keeps of a chat. */
  events: EventLog | undefined
  historySize: number
  /** What all rooms of an instance share: how much they read at the same time, and keep for clients that come back. */
  reads: ReadGate
  replays: ByteBudget
  /** The state that the provider keeps beside the log, if so, and what streams are told of it. */
  state?: StateStore | undefined
  views?: MakeView[] | undefined
  /** Milliseconds after which a client that was dropped comes back. */
  retryMs: number
}

const READING_LOG: RecoverableFailure = {
  level: 'warn', message: 'The log of a chat can\'t be read, trying again', recovered: 'The logs of chats can be read again'
}

const STUCK: RepeatedFailure = {
  level: 'warn',
  message: 'The log of a chat can\'t be read, not even one event at a time, trying again. ' +
    'Where Redis closes the connection, the event may be larger than its client-output-buffer-limit'
}

const READING_STATE: RepeatedFailure = { level: 'warn', message: 'The state of a chat can\'t be read, trying again' }

const HANDLER: RepeatedFailure = { level: 'error', message: 'A handler of chat events failed' }

const NOT_JSON: RepeatedFailure = { level: 'error', message: 'What was received for a chat is not JSON' }

/** How many frames are kept for clients that come back soon. */
const RECENT = 256

/** One chat on this instance: what arrives for it goes to the handlers and to the open streams. */
export class Room implements Follower, Destination, ViewedRoom {
  readonly chatId: string
  readonly #context: RoomContext
  readonly #onEmpty: () => void
  readonly #handlers: Handlers<Parameters<ChatEventHandler>>
  readonly #streams = new Set<Stream>()
  /** Streams that are not level with the room yet. */
  readonly #arriving = new Set<Stream>()
  readonly #waiting = new Set<() => void>()
  readonly #sequence: Sequence | undefined
  readonly #mirror: Mirror | undefined
  readonly #views: StateView[] = []
  readonly history: History | undefined
  #recent: Backlog
  /** Frames of this turn of the event loop. They go out as one write: its cost is the system call. */
  readonly #pending: Buffer[] = []
  #pendingBytes = 0
  #live = false
  #interrupted = false
  /** Whether no event of the log arrived since the last look. */
  #quiet = false

  /** `onEmpty` is called when nobody is left who listens. */
  constructor (chatId: string, channel: string, context: RoomContext, onEmpty: () => void) {
    this.chatId = chatId
    this.#context = context
    this.#recent = this.#backlog({ epoch: '', offset: 0, tag: 0 })
    this.#onEmpty = onEmpty
    this.#handlers = new Handlers((err) => logRepeated(context.log, HANDLER, { chatId, err }, placeOf(err)))
    if (context.events === undefined) return
    const { events, reads } = context
    const makePages = (): LogPages => new LogPages(channel, events, reads, {
      onStuck: ({ message }) => {
        logRepeated(context.log, STUCK, { chatId, reason: message, after: this.#formatPosition() })
      }
    })
    // Each counts its own failures: that the end of the log can be read does not prove that a client's page can.
    this.history = new History(chatId, makePages(), context.historySize, context.replays)
    this.#sequence = new Sequence(makePages(), {
      event: (logged) => this.#tell(logged),
      gap: (reason, at) => this.#jump(reason, at),
      reading: () => { context.metrics.resyncs++ },
      read: ({ state }) => this.#mirror?.look(state),
      level: () => this.#levelled(),
      knows: (cursor) => this.#knows(cursor),
      failed: ({ message }) => logRepeated(context.log, READING_LOG, { chatId, reason: message })
    })
    const { state, views = [] } = context
    if (state === undefined || views.length === 0) return
    this.#mirror = new Mirror(channel, state, context.reads, {
      field: (name, after, before) => { for (const view of this.#views) view.field(name, after, before) },
      // The log may be lost as well: then its readers get a reset.
      vanished: () => { this.#sequence?.sync() },
      failed: ({ message }) => logRepeated(context.log, READING_STATE, { chatId, reason: message })
    })
    this.#views = views.map((make) => make(this))
  }

  get isEmpty (): boolean {
    return this.#streams.size + this.#arriving.size + this.#handlers.size === 0
  }

  /** Begins to follow the log. */
  open (): void {
    this.#sequence?.open()
  }

  addHandler (handler: ChatEventHandler): void {
    this.#handlers.add(handler, bindContext(handler))
  }

  deleteHandler (handler: ChatEventHandler): void {
    this.#handlers.delete(handler)
    this.leave()
  }

  /** Adds a stream. It gets `ready` as soon as nothing can be missed any more, what it missed if it came back, and every event after that. */
  join (stream: Stream, arrival: Arrival = {}): void {
    if (stream.closed) return this.leave()
    this.#arriving.add(stream)
    stream.onClose(() => {
      this.#arriving.delete(stream)
      this.#streams.delete(stream)
      this.leave()
    })
    arrive(this, stream, arrival)
  }

  // What a view of the state needs to know: see ViewedRoom.

  get fields (): ReadonlyMap<string, Field> {
    return (this.#mirror as Mirror).fields // Views are made for it.
  }

  tell (frame: Buffer): void {
    this.#send(() => frame)
  }

  // What an arriving stream needs to know: see Destination.

  get retryMs (): number {
    return this.#context.retryMs
  }

  get position (): Cursor | undefined {
    return this.#sequence?.position
  }

  get isLevel (): boolean {
    return this.#sequence === undefined ? this.#live : this.#sequence.isLevel
  }

  get isUnproven (): boolean {
    return this.#sequence?.isUnproven === true
  }

  get recent (): Backlog {
    return this.#recent
  }

  whenLevel (stream: Stream): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        off()
        this.#waiting.delete(done)
        resolve()
      }
      const off = stream.onClose(done)
      this.#waiting.add(done)
    })
  }

  async sync (): Promise<void> {
    await this.#sequence?.sync()
  }

  attach (stream: Stream, frames: Buffer[], reason?: ResetReason): void {
    // What is pending is among what it is written now, or was before it came.
    this.#flush()
    // In this very turn: what changes later it is told like all others.
    const all = [...frames, ...this.#views.flatMap((view) => view.snapshot())]
    const chunk = Buffer.concat(all)
    stream.write(chunk)
    this.#count(1, all.length, chunk.length)
    if (reason !== undefined) this.#context.metrics.resets.add(reason)
    if (this.#arriving.delete(stream)) this.#streams.add(stream)
  }

  live (): void {
    const again = this.#interrupted
    this.#live = true
    this.#interrupted = false
    if (this.#sequence === undefined) {
      // What was missed meanwhile can be read from nowhere.
      if (again) this.#reset('failover')
      this.#levelled()
    } else if (again) {
      // After a reconnect all chats are live at once: they don't read all at once.
      setTimeout(() => { if (this.#live) this.#sequence?.live() }, Math.random() * timing.resyncSpread).unref()
    } else {
      this.#sequence.live()
    }
  }

  lost (): void {
    if (this.#live) this.#interrupted = true
    this.#live = false
    this.#sequence?.lost()
  }

  receive (envelope: Envelope, remote: boolean): void {
    if (remote) this.#context.log.debug({ chatId: this.chatId, from: envelope.from }, 'Forwarded remote chat event')
    if (envelope.position === undefined || this.#sequence === undefined) return this.#forward(envelope)
    this.#quiet = false
    this.#sequence.receive(envelope as Logged)
  }

  /** Whether no event of the log has arrived between this call and the one before. Others prove nothing: they leave no hole. */
  lookQuiet (): boolean {
    const quiet = this.#quiet
    this.#quiet = true
    return quiet && this.#sequence?.isLevel === true
  }

  /** Compares with the end of the log. */
  compare (top: LogTop | undefined): void {
    this.#sequence?.compare(top)
    this.#mirror?.look(top?.state)
  }

  /** Compares what is known of the state with it, if there is one. */
  checkState (): void {
    this.#mirror?.check()
  }

  /** Somebody has left, or has not come for whom it was entered. */
  leave (): void {
    if (this.isEmpty) this.#onEmpty()
  }

  /** Ends the streams and forgets the handlers. */
  close (): void {
    this.#flush()
    this.#sequence?.close()
    this.#mirror?.close()
    this.#handlers.clear()
    this.#recent.clear()
    this.history?.forget()
    for (const stream of [...this.#streams, ...this.#arriving]) stream.end()
  }

  #levelled (): void {
    logRecovered(this.#context.log, READING_LOG)
    const { position } = this
    if (position !== undefined && !sameCursor(this.#recent.top, position)) this.#restart(position)
    for (const done of this.#waiting) done()
  }

  /** The next event of the log, for everyone here. */
  #tell (logged: Logged): void {
    const { position } = logged
    if (this.#recent.top.epoch === '') this.#restart(placeBefore(position))
    this.#recent.push(logged)
    for (const view of this.#views) view.event(logged)
    this.#send(() => frameOf(this.chatId, logged), logged.timestamp)
    this.#trace(logged)
    if (!position.fence) return this.#handle(logged)
    this.#context.metrics.resets.add('failover', this.#streams.size)
    this.#mirror?.forget()
  }

  #jump (reason: LogGap, at: Cursor): void {
    this.#restart(at)
    this.history?.forget()
    this.#reset(reason, at)
  }

  /** Keeps what comes after a place. */
  #restart (at: Cursor): void {
    this.#recent.clear()
    this.#recent = this.#backlog(at)
  }

  #backlog (base: Cursor): Backlog {
    return new Backlog(this.chatId, base, { capacity: RECENT, bytes: budgets.replay, budget: this.#context.replays })
  }

  #formatPosition (): string | undefined {
    const { position } = this
    return position && formatCursor(position)
  }

  #reset (reason: ResetReason, at?: Cursor): void {
    this.#send(() => reset(this.chatId, reason, at))
    // Who reloads throws away what it was told of the state.
    this.#mirror?.forget()
    this.#context.metrics.resets.add(reason, this.#streams.size)
  }

  #knows (cursor: Cursor): boolean {
    const known = this.#recent.has(cursor)
    if (known) this.#context.metrics.duplicates.add('received')
    return known
  }

  /** An event without a place, or of a log that is not followed here. */
  #forward (envelope: Envelope): void {
    if (envelope.position?.fence === true) return this.#reset('failover')
    this.#send(() => encodeFrame({ event: envelope.event, json: envelope.json }), envelope.timestamp)
    this.#trace(envelope)
    this.#handle(envelope)
  }

  #handle ({ timestamp, from, event, json, position, traceparent }: Envelope): void {
    if (this.#handlers.size === 0) return
    const id = position && formatCursor(position)
    try {
      // JSON can't prove its type: publishers on a chat's channel answer for it.
      const parsed = parseJson(json) as ChatEvent
      // It calls itself what it was not published as: only this package publishes such events.
      if (isReserved(parsed?.type) && parsed.type !== event) return
      this.#handlers.run(parsed, { timestamp, from, id, traceparent })
    } catch (err) {
      logRepeated(this.#context.log, NOT_JSON, { chatId: this.chatId, err })
    }
  }

  /** Writes a frame to every stream that is here. Without one it is not even encoded. */
  #send (encode: () => Buffer, published?: number): void {
    if (this.#streams.size === 0) return
    const frame = encode()
    if (this.#pending.length === 0) setImmediate(() => this.#flush())
    this.#pending.push(frame)
    this.#pendingBytes += frame.length
    if (this.#pendingBytes > budgets.turn) this.#flush()
    if (published !== undefined) this.#context.metrics.onWritten?.(Math.max(0, Date.now() - published) / 1_000)
  }

  #flush (): void {
    const pending = this.#pending
    if (pending.length === 0) return
    const chunk = pending.length === 1 ? pending[0] as Buffer : Buffer.concat(pending)
    this.#count(this.#streams.size, pending.length, chunk.length)
    pending.length = this.#pendingBytes = 0
    for (const stream of this.#streams) stream.write(chunk)
  }

  #trace ({ event, position, traceparent }: Envelope): void {
    if (position?.fence === true) return
    traceDeliver(() => ({ chatId: this.chatId, event, id: position && formatCursor(position), traceparent, streams: this.#streams.size }))
  }

  #count (streams: number, frames: number, bytes: number): void {
    const { metrics } = this.#context
    metrics.deliveries += streams * frames
    metrics.bytes += streams * bytes
  }
}
