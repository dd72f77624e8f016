import type { ChatEvent, ChatEventHandler } from '../chat-event-map.ts'
import { Handlers } from '../handlers.ts'
import { parseJson } from '../json.ts'
import type { Logger } from '../logger.ts'
import type { Envelope, Follower } from '../pubsub/provider.ts'
import type { Connection } from '../sse/connection.ts'
import { encodeFrame } from '../sse/frame.ts'

/** What a room needs of those around it. */
export interface RoomContext {
  log: Logger
  /** Milliseconds after which a client that was dropped comes back. */
  retryMs: number
  /** Called when nobody is left who listens. */
  onEmpty (): void
}

/** One chat on this instance: what arrives for it goes to the handlers and to the open streams. */
export class Room implements Follower {
  readonly chatId: string
  readonly #context: RoomContext
  readonly #handlers: Handlers<Parameters<ChatEventHandler>>
  readonly #streams = new Set<Connection>()
  /** Streams that wait for the subscription to hold: only then is `ready` true. */
  readonly #joining = new Set<Connection>()
  /** Frames of this turn of the event loop. They go out as one write: its cost is the system call. */
  #pending: Buffer[] = []
  #live = false
  #interrupted = false

  constructor (chatId: string, context: RoomContext) {
    this.chatId = chatId
    this.#context = context
    this.#handlers = new Handlers((err) => context.log.error({ chatId, err }, 'A handler of chat events failed'))
  }

  get empty (): boolean {
    return this.#streams.size + this.#joining.size + this.#handlers.size === 0
  }

  /** Whether events from other instances reach this room now. */
  get isLive (): boolean {
    return this.#live
  }

  addHandler (handler: ChatEventHandler): void {
    this.#handlers.add(handler)
  }

  deleteHandler (handler: ChatEventHandler): void {
    this.#handlers.delete(handler)
    this.#leave()
  }

  /** Adds a stream. It gets `ready` as soon as nothing can be missed any more, and every event after that. */
  join (stream: Connection): void {
    if (stream.closed) return this.#leave()
    stream.onClose(() => {
      this.#joining.delete(stream)
      this.#streams.delete(stream)
      this.#leave()
    })
    if (this.#live) this.#admit(stream)
    else this.#joining.add(stream)
  }

  live (): void {
    this.#live = true
    if (this.#interrupted) this.#reset()
    this.#interrupted = false
    for (const stream of this.#joining) this.#admit(stream)
    this.#joining.clear()
  }

  lost (): void {
    if (this.#live) this.#interrupted = true
    this.#live = false
  }

  receive (envelope: Envelope, remote: boolean): void {
    const { chatId } = this
    if (remote) this.#context.log.debug({ chatId, from: envelope.from }, 'Forwarded remote chat event')
    if (this.#streams.size > 0) this.#send(encodeFrame({ event: envelope.event, json: envelope.json }))
    if (this.#handlers.size > 0) this.#handle(envelope)
  }

  /** Ends the streams and forgets the handlers. */
  close (): void {
    this.#flush()
    this.#handlers.clear()
    for (const stream of [...this.#streams, ...this.#joining]) stream.end()
  }

  #handle (envelope: Envelope): void {
    const { timestamp, from } = envelope
    // JSON can't prove its type: publishers on a chat's channel answer for it.
    this.#handlers.run(parseJson(envelope.json) as ChatEvent, { timestamp, from })
  }

  #admit (stream: Connection): void {
    // What came before it joined is not for it.
    this.#flush()
    stream.write(encodeFrame({ retry: this.#context.retryMs, event: 'ready', json: JSON.stringify({ chatId: this.chatId, resumed: false }) }))
    this.#streams.add(stream)
  }

  /** Events may have been missed while the subscription was broken, and there is nothing to read them from. */
  #reset (): void {
    this.#send(encodeFrame({ event: 'reset', json: JSON.stringify({ reason: 'failover', certain: false }) }))
  }

  #send (frame: Buffer): void {
    if (this.#pending.length === 0) setImmediate(() => this.#flush())
    this.#pending.push(frame)
  }

  #flush (): void {
    if (this.#pending.length === 0) return
    const chunk = this.#pending.length === 1 ? this.#pending[0] as Buffer : Buffer.concat(this.#pending)
    this.#pending = []
    for (const stream of this.#streams) stream.write(chunk)
  }

  #leave (): void {
    if (this.empty) this.#context.onEmpty()
  }
}
