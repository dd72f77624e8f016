import type { BotMessagePiece } from '../../event-types.ts'
import { closingChunk, incompleteBy, type UIChunk } from '../../ui-message.ts'

/** The chunks of one bot message as a stream that ends with it. */
export class ChunkStream {
  readonly stream: ReadableStream<UIChunk>
  /** Called once the stream is closed or cancelled, or has failed. */
  onEnd: (() => void) | undefined
  #controller: ReadableStreamDefaultController<UIChunk> | undefined
  #first: UIChunk | undefined
  /** The first chunk that says why the UI message is not complete. */
  #incompleteBy: UIChunk | undefined
  /** How the bot message has ended; `streaming` until then. */
  status: BotMessagePiece['status'] = 'streaming'
  /** How many chunks were passed on. */
  #count = 0

  constructor () {
    this.stream = new ReadableStream<UIChunk>({
      start: (controller) => { this.#controller = controller },
      cancel: () => { this.#end() }
    })
  }

  get isEnded (): boolean {
    return this.#controller === undefined
  }

  /** The first chunk; `undefined` until it is known. */
  get first (): UIChunk | undefined {
    return this.#first
  }

  /** Passes on the new chunks of a piece, and closes the stream if it is the end. */
  receive ({ at, chunks = [], status, error }: BotMessagePiece): void {
    const controller = this.#controller
    if (controller === undefined) return
    // Only a server that has lost the content sends a piece that begins beyond it.
    const isLost = at > this.#count
    const added = isLost ? [] : chunks.slice(this.#count - at) as UIChunk[] // Chunks of the AI SDK.
    for (const chunk of added) controller.enqueue(chunk)
    this.#count += added.length
    this.#first ??= added[0]
    this.#incompleteBy ??= incompleteBy(added)
    this.status = isLost ? 'interrupted' : status
    if (this.status === 'streaming') return
    const closing = closingChunk(this.#incompleteBy, { status: this.status, ...error !== undefined && { error } })
    if (closing !== undefined) controller.enqueue(closing)
    this.#first ??= closing
    controller.close()
    this.#end()
  }

  fail (error: unknown): void {
    this.#controller?.error(error)
    this.#end()
  }

  #end (): void {
    if (this.#controller === undefined) return
    this.#controller = undefined
    this.onEnd?.()
  }
}
