import { EventEmitter, once } from 'node:events'
import type { Test } from 'tap'
import { realtimeChatTransport, type RealtimeChatTransport } from '../../../lib/ai/client/index.ts'
import { createRealtimeClient, type RealtimeClient } from '../../../lib/client/index.ts'
import { fetchStreams } from '../../support/fetch-streams.ts'
import { inTime } from '../../support/in-time.ts'
import type { Message, Reader } from './answer.ts'

type Chunks = ReadableStream<never>

/** A version of the AI SDK, as far as a reader needs it. */
export interface ReaderSdk {
  name: string
  readUIMessageStream: (options: { stream: Chunks, terminateOnError: boolean }) => AsyncIterable<Message>
}

export interface SdkReaderOptions {
  sdk: ReaderSdk
  chatId: string
  /** The address that it reads from, and that of the instance that it asks for an answer. */
  url: string
  producer: string | undefined
}

/** A user whose page gets an answer over our transport, and lets the AI SDK build the message from it. */
export class SdkReader implements Reader {
  readonly #loadPage: () => Page
  #page: Page

  constructor (t: Test, options: SdkReaderOptions) {
    this.#loadPage = () => new Page(options)
    this.#page = this.#loadPage()
    t.teardown(() => this.close())
  }

  get instance (): string | undefined {
    return this.#page.instance
  }

  async opensStream (): Promise<void> {
    const { streams } = this.#page
    await this.#page.until('A stream', () => this.#page.streams > streams)
  }

  async ask (): Promise<void> {
    this.#page.ask()
    await this.shows(1)
  }

  async shows (characters: number): Promise<void> {
    await this.#page.until(`Character ${characters}`, () => lengthOf(this.#page.message) >= characters)
  }

  async reload (): Promise<void> {
    this.#page.close()
    this.#page = this.#loadPage()
  }

  async close (): Promise<void> {
    this.#page.close()
  }

  /** Resolves with the message once the answer has ended. */
  async end (): Promise<Message | undefined> {
    await this.#page.until('The end', () => this.#page.isEnded)
    return this.#page.message
  }
}

/** The page from one load to the next. Like `useChat` with `resume`, it looks for an answer in progress first. */
class Page {
  instance: string | undefined
  /** How many streams of events it has opened. */
  streams = 0
  message: Message | undefined
  isEnded = false
  readonly #options: SdkReaderOptions
  readonly #client: RealtimeClient
  readonly #transport: RealtimeChatTransport<object>
  readonly #resumed: Promise<void>
  readonly #changes = new EventEmitter()
  #failure: { error: unknown } | undefined

  constructor (options: SdkReaderOptions) {
    const { sdk, chatId, url, producer } = this.#options = options
    this.#client = createRealtimeClient({
      url: `${url}/api`,
      fetch: async (...args) => {
        const response = await fetchStreams(...args)
        if (response.headers.get('content-type') === 'text/event-stream') this.#opened(response)
        return response
      }
    })
    const send = async (): Promise<Response> => await fetch(`${producer}/api/chats/${chatId}/ask`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sdk: sdk.name })
    })
    this.#transport = realtimeChatTransport({ client: this.#client, send })
    this.#resumed = this.#read(this.#transport.reconnectToStream({ chatId }))
  }

  async ask (): Promise<void> {
    await this.#resumed
    const { chatId } = this.#options
    await this.#read(this.#transport.sendMessages({
      chatId, messages: [], trigger: 'submit-message', messageId: undefined, abortSignal: undefined
    }))
  }

  close (): void {
    this.#client.close()
  }

  /** Resolves once a condition is fulfilled. Rejects if the page has an error. */
  async until (awaited: string, fulfilled: () => boolean): Promise<void> {
    while (!fulfilled()) {
      if (this.#failure !== undefined) throw this.#failure.error
      await inTime(once(this.#changes, 'change'), `${awaited} in ${this.#options.chatId}`)
    }
  }

  #opened ({ headers, url }: Response): void {
    if (!url.includes('/events')) return
    this.instance = headers.get('x-instance') ?? undefined
    this.streams++
    this.#changes.emit('change')
  }

  /** Reads an answer to its end, if there is one. */
  async #read (opening: Promise<Chunks | null>): Promise<void> {
    try {
      const stream = await opening
      if (stream === null) return
      for await (const message of this.#options.sdk.readUIMessageStream({ stream, terminateOnError: true })) {
        this.message = message
        this.#changes.emit('change')
      }
      this.isEnded = true
    } catch (error) {
      this.#failure = { error }
    }
    this.#changes.emit('change')
  }
}

/** How many characters of reasoning and text a message has. */
function lengthOf (message: Message | undefined): number {
  return (message?.parts ?? []).reduce((sum, { text = '' }) => sum + text.length, 0)
}
