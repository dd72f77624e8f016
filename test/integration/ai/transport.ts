import type { Test } from 'tap'
import { randomUUID } from 'node:crypto'
import { realtimeChatTransport, type RealtimeChatTransport } from '../../../lib/ai/client/index.ts'
import { streamUIMessage, type UIChunk, type UIMessageSource } from '../../../lib/ai/index.ts'
import type { RealtimeClientOptions } from '../../../lib/client/index.ts'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { setups } from '../bot-messages/setups.ts'
import type { Side } from '../bot-messages/sides.ts'
import { Page } from '../client/page.ts'

export type Chunks = ReadableStream<UIChunk>

export const start = { type: 'start', messageId: 'm' }
export const text = (delta: string): UIChunk => ({ type: 'text-delta', id: 't', delta })
export const finish = { type: 'finish' }

/** A source that the test writes to. */
export class Source {
  readonly #pending: UIChunk[]
  #closed = false
  #failure: Error | undefined
  #wake = (): void => {}
  #waits = (): void => {}
  aborted = false
  /** Resolves once all that it had from the beginning is appended. */
  readonly isRead = new Promise<void>((resolve) => { this.#waits = resolve })

  constructor (...chunks: UIChunk[]) {
    this.#pending = chunks
  }

  write (...chunks: UIChunk[]): void {
    this.#pending.push(...chunks)
    this.#wake()
  }

  close (): void {
    this.#closed = true
    this.#wake()
  }

  /** Makes it throw. */
  fail (error: Error): void {
    this.#failure = error
    this.#wake()
  }

  readonly read: UIMessageSource & ((signal: AbortSignal) => AsyncGenerator<UIChunk>) = async function * (
    this: Source, signal: AbortSignal
  ): AsyncGenerator<UIChunk> {
    signal.addEventListener('abort', () => { this.aborted = true; this.#wake() })
    for (;;) {
      while (this.#pending.length > 0) yield this.#pending.shift() as UIChunk
      if (this.#failure !== undefined) throw this.#failure
      if (this.#closed || this.aborted) return
      this.#waits()
      await new Promise<void>((resolve) => { this.#wake = resolve })
    }
  }.bind(this)
}

/** Streams a source into the chat `c`. Resolves with the id as soon as the bot message has started. */
export async function stream ({ app }: Side, source: Source, id: string = randomUUID()): Promise<{ id: string }> {
  const started = new Promise<void>((resolve) => {
    streamUIMessage(app.chatEvents, 'c', (signal) => { resolve(); return source.read(signal) }, { id }).catch(() => {})
  })
  await started
  return { id }
}

export interface Opened { transport: RealtimeChatTransport<object, UIChunk>, page: Page, stopped: object[] }

/** A transport whose requests one instance answers, and the messages that it was asked to stop. */
export function open (
  t: Test, { app, url }: Side, send: () => Promise<{ id: string } | Response>, options?: RealtimeClientOptions
): Opened {
  const page = new Page(t, url, options)
  const stopped: object[] = []
  const stop = async (message: { chatId: string, id?: string }): Promise<void> => {
    stopped.push(message)
    await app.chatEvents.stopBotMessage(message.chatId, message.id)
  }
  return { page, transport: realtimeChatTransport({ client: page.client, send, stop }), stopped }
}

export const ask = (
  transport: Opened['transport'], abortSignal?: AbortSignal
): Promise<Chunks> => transport.sendMessages({
  chatId: 'c', messages: [], trigger: 'submit-message', messageId: undefined, abortSignal
})

export async function rest (chunks: Chunks | null): Promise<UIChunk[]> {
  const all: UIChunk[] = []
  for await (const chunk of chunks as Chunks) all.push(chunk)
  return all
}

/** For pages that ask for nothing. */
export const unused = async (): Promise<never> => { throw new Error('nothing is sent here') }

/** One instance without Redis. */
export const setup = (t: Test, options?: RealtimeOptions): ReturnType<NonNullable<typeof setups[string]>> =>
  (setups['in one process'] as NonNullable<typeof setups[string]>)(t, options)
