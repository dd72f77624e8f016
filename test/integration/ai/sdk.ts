import type { UIChunk } from '../../../lib/ai/index.ts'

/** What the tests use of the AI SDK. Its types differ between the versions. */
export interface Sdk {
  streamText (options: object): {
    toUIMessageStream (options: object): ReadableStream<{ type: string }>
    textStream: ReadableStream<string>
  }
  readUIMessageStream (options: { stream: unknown, onError?: (error: unknown) => void }): AsyncIterable<object>
  simulateReadableStream (options: object): unknown
  tool (options: object): object
  jsonSchema (schema: object): object
  stepCountIs (count: number): unknown
  createUIMessageStream (options: { execute (given: { writer: UIMessageWriter }): unknown }): ReadableStream<UIChunk>
  DefaultChatTransport: new (options: { api: string }) => {
    sendMessages (options: object): Promise<unknown>
    reconnectToStream (options: { chatId: string }): Promise<unknown>
  }
}

export type Model = new (options: { doStream (): Promise<object> }) => object

/** The names under which the versions are installed, with the versions of their models. */
export const versions = { ai5: 'V2', ai6: 'V3', ai7: 'V4' }

/** Writes a UI message by hand. */
export interface UIMessageWriter {
  write (chunk: UIChunk): void
  merge (stream: ReadableStream<unknown>): void
}

export async function load (name: string, version: string): Promise<{ sdk: Sdk, Model: Model }> {
  const sdk = await import(name) as unknown as Sdk
  const { [`MockLanguageModel${version}`]: Model } = await import(`${name}/test`) as Record<string, Model>
  return { sdk, Model: Model as Model } // Each version has a mock of this name.
}

/** The UI message that a stream leads to. `onError` gets its errors. */
export async function messageOf (
  sdk: Sdk, stream: unknown, onError: (error: unknown) => void = () => {}
): Promise<object | undefined> {
  let last: object | undefined
  for await (const message of sdk.readUIMessageStream({ stream, onError })) last = message
  return last
}

/** Reads a UI message with the SDK's own transport, as the answer to a request. */
export async function readFrom (sdk: Sdk, url: string, id: string): Promise<unknown> {
  const transport = new sdk.DefaultChatTransport({ api: `${url}/api/ask?id=${id}` })
  return await transport.sendMessages({ trigger: 'submit-message', chatId: 'c', messages: [] })
}

/** Reads the UI message in progress with the SDK's own transport; `null` if there is none. */
export async function resume (sdk: Sdk, url: string): Promise<ReadableStream<object> | null> {
  const transport = new sdk.DefaultChatTransport({ api: `${url}/api/chats` })
  return await transport.reconnectToStream({ chatId: 'c' }) as ReadableStream<object> | null
}

/** Yields the first chunk of a stream, and the rest once a promise resolves. */
export async function * heldAfterFirst (
  stream: ReadableStream<{ type: string }>, go: Promise<void>
): AsyncGenerator<{ type: string }> {
  let isFirst = true
  for await (const chunk of stream) {
    if (!isFirst) await go
    isFirst = false
    yield chunk
  }
}

/** Passes chunks on, and calls back with each. */
export function watching (callback: (chunk: object) => void): TransformStream<object, object> {
  return new TransformStream({
    transform (chunk, controller) {
      callback(chunk)
      controller.enqueue(chunk)
    }
  })
}
