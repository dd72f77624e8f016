import t from 'tap'
import { ChunkStream } from '../../lib/ai/client/chunk-stream.ts'
import { onUIMessage, realtimeChatTransport } from '../../lib/ai/client/index.ts'
import type { RealtimeChat, RealtimeClient } from '../../lib/client/index.ts'
import type { UIChunk } from '../../lib/ui-message.ts'

t.test('a stream whose content the server has lost ends with an error', async (t) => {
  const chunks = new ChunkStream()
  const piece = { id: 'm', text: undefined, status: 'streaming' as const }
  chunks.receive({ ...piece, at: 0, chunks: [{ type: 'start' }] })
  chunks.receive({ ...piece, at: 3, chunks: [{ type: 'text-delta' }] })
  t.equal(chunks.status, 'interrupted')
  t.ok(chunks.isEnded)
  chunks.receive({ ...piece, at: 0, chunks: [{ type: 'late' }] })
  const received = []
  for await (const chunk of chunks.stream) received.push(chunk)
  t.match(received, [{ type: 'start' }, { type: 'error', errorText: /interrupted/ }])
  t.equal(received.length, 2)
})

t.test('a chunk that was received already is not passed on again', async (t) => {
  const chunks = new ChunkStream()
  const data = (n: number): UIChunk => ({ type: 'data', n })
  const [one, two, three] = [data(1), data(2), data(3)] as const
  chunks.receive({ id: 'm', status: 'streaming', at: 0, chunks: [one, two] })
  chunks.receive({ id: 'm', status: 'finished', at: 1, chunks: [two, three] })
  const received = []
  for await (const chunk of chunks.stream) received.push(chunk)
  t.same(received, [one, two, three])
})

t.test('a loss of events before the bot message is found ends the wait', async (t) => {
  const closing = new AbortController()
  let reset = (): void => {}
  let send: (event: object, info: object) => void = () => {}
  let requested = (): void => {}
  const searching = new Promise<void>((resolve) => { requested = resolve })
  const chat = {
    signal: closing.signal,
    ready: Promise.resolve(),
    on: (_type: string, handler: typeof send) => {
      send = handler
      return () => {}
    },
    onReset: (handler: () => void) => {
      const before = reset
      reset = () => { before(); handler() }
      return () => {}
    },
    request: () => {
      requested()
      return new Promise(() => {})
    },
    close: () => closing.abort()
  }
  const client = { chat: () => chat, onRefused () {} } as unknown as RealtimeClient
  const transport = realtimeChatTransport({ client, send: async () => ({ id: 'm' }) })
  const asked = transport.sendMessages({
    chatId: 'c', messages: [], trigger: 'submit-message', messageId: undefined, abortSignal: undefined
  })
  await searching
  // A bot message with the same id, but without chunks, is another one.
  send({ type: 'bot_message', chatId: 'c', id: 'm', status: 'streaming', at: 0, text: 'a' }, {})
  reset()
  await t.rejects(asked, { message: /lost/ })
  t.ok(closing.signal.aborted)
})

t.test('no UI message reaches a handler that was removed, although it was read before', async (t) => {
  type Send = (event: object, info: object) => void
  const removals = ['signal', 'function', 'chat'] as const
  for (const removal of removals) {
    const closing = new AbortController()
    const signal = new AbortController()
    let send: Send = () => {}
    const chat = {
      signal: closing.signal,
      on: (_type: string, handler: Send) => {
        send = handler
        return () => {}
      },
      onReset: () => () => {}
    } as unknown as RealtimeChat
    let reading = (): void => {}
    const read = new Promise<void>((resolve) => { reading = resolve })
    async function * readUIMessageStream ({ stream }: { stream: ReadableStream<never> }): AsyncGenerator<string> {
      for await (const { type } of stream as ReadableStream<UIChunk>) yield type
      reading()
    }
    const received: string[] = []
    const remove = onUIMessage(chat, readUIMessageStream, (message) => {
      received.push(message)
      if (removal === 'signal') signal.abort()
      if (removal === 'function') remove()
      if (removal === 'chat') closing.abort()
    }, { signal: signal.signal })
    const piece = { type: 'bot_message', chatId: 'c', id: 'm', status: 'finished', at: 0 }
    send({ ...piece, chunks: [{ type: 'start' }, { type: 'finish' }] }, {})
    await read
    await new Promise(setImmediate)
    t.same(received, ['start'], removal)
  }
})
