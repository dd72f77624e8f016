import t from 'tap'
import { ChunkStream } from '../../lib/ai/client/chunk-stream.ts'
import { beginsUIMessage } from '../../lib/ui-message.ts'
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

t.test('UI messages are distinguished from other chunks by their first one, whichever that is', async (t) => {
  const types = [
    'start', 'start-step', 'text-start', 'reasoning-start', 'data-weather', 'source-url', 'tool-input-start', 'file',
    'message-metadata', 'error', 'abort', 'finish'
  ]
  for (const type of types) t.ok(beginsUIMessage({ type }), type)
  for (const type of ['data', 'message', 'text-delta', 'starting', 1, undefined]) {
    t.notOk(beginsUIMessage({ type }), String(type))
  }
})

const LARGE = 'x'.repeat(600_000)
const START: UIChunk = { type: 'start', messageId: 'u' }
const data = (content: string | number): UIChunk => ({ type: 'data', content })

interface Transport {
  chunks: Promise<ReadableStream<UIChunk> | null>
  paths: string[]
  /** Passes a piece of a bot message to the transport. */
  send: (id: string, at: number, ...chunks: UIChunk[]) => void
  /** Passes the end of a bot message to the transport. */
  end: (id: string, at: number) => void
  /** Answers the next request with this response. */
  answer: (response: Response) => Promise<void>
  /** Resolves the promise of the app's `send`. */
  sent: (message: { id: string }) => void
  /** Tells the transport that events were lost. */
  reset: () => void
  /** Closes the chat, as the client does when it is closed. */
  close: () => void
}

/** A transport whose server is the test: it sends a message of the user, or resumes. */
async function openTransport (method: 'sendMessages' | 'reconnectToStream'): Promise<Transport> {
  const closing = new AbortController()
  const paths: string[] = []
  const requests: ((response: Response) => void)[] = []
  let asked = (): void => {}
  let reset = (): void => {}
  let receive: (event: object, info: object) => void = () => {}
  const chat = {
    signal: closing.signal,
    ready: Promise.resolve(),
    on: (_type: string, handler: typeof receive) => {
      receive = handler
      return () => {}
    },
    onReset: (handler: () => void) => {
      reset = handler
      return () => {}
    },
    request: (path: string) => {
      paths.push(path)
      return new Promise<Response>((resolve) => {
        requests.push(resolve)
        asked()
      })
    },
    close: () => closing.abort()
  }
  let sent: Transport['sent'] = () => {}
  const isSent = new Promise<{ id: string }>((resolve) => { sent = resolve })
  const client = { chat: () => chat, onRefused () {} } as unknown as RealtimeClient
  const transport = realtimeChatTransport<unknown, UIChunk>({ client, send: () => isSent })
  const chunks = transport[method]({
    chatId: 'c', messages: [], trigger: 'submit-message', messageId: undefined, abortSignal: undefined
  })
  return {
    chunks,
    paths,
    sent,
    reset: () => reset(),
    close: chat.close,
    send: (id, at, ...pieces) => {
      receive({ type: 'bot_message', chatId: 'c', id, status: 'streaming', at, chunks: pieces }, {})
    },
    end: (id, at) => {
      receive({ type: 'bot_message', chatId: 'c', id, status: 'finished', at, chunks: [] }, {})
    },
    answer: async (response) => {
      while (requests.length === 0) await new Promise<void>((resolve) => { asked = resolve })
      requests.shift()?.(response)
    }
  }
}

/** The response to a request for the UI message in progress. */
const streamOf = (id: string): Response => new Response('', { headers: { 'x-bot-message-id': id } })

/** Reads a number of chunks. */
async function read (stream: ReadableStream<UIChunk> | null, count: number): Promise<unknown[]> {
  const received = []
  const reader = stream?.getReader()
  while (received.length < count) received.push((await reader?.read())?.value)
  await reader?.cancel()
  return received
}

t.test('while the server is unavailable, it is asked again for the UI message in progress', async (t) => {
  const { chunks, paths, send, answer } = await openTransport('reconnectToStream')
  const wait = global.setTimeout
  t.teardown(() => { global.setTimeout = wait })
  // The waits between two attempts take no time.
  global.setTimeout = ((act: () => void, ms: number) => wait(act, ms < 45_000 ? 0 : ms)) as typeof setTimeout
  for (const status of [503, 429]) await answer(new Response(null, { status }))
  await answer(streamOf('m'))
  send('m', 0, START)
  t.same(await read(await chunks, 1), [START])
  t.same(paths, ['/stream', '/stream', '/stream'])
})

t.test('a server without history is not asked again', async (t) => {
  const { chunks, paths, answer } = await openTransport('reconnectToStream')
  await answer(new Response(null, { status: 501 }))
  await t.rejects(chunks, { message: 'The server answered 501' })
  t.same(paths, ['/stream'])
})

t.test('a chat that is closed asks no more for the UI message in progress', async (t) => {
  const { chunks, paths, answer, close } = await openTransport('reconnectToStream')
  await answer(new Response(null, { status: 503 }))
  await new Promise(setImmediate)
  close()
  await t.rejects(chunks, { message: /client is closed/ })
  t.same(paths, ['/stream'])
})

t.test('chunks that were dropped before the bot message was known are requested', async (t) => {
  for (const method of ['sendMessages', 'reconnectToStream'] as const) {
    const { chunks, paths, send, answer, sent } = await openTransport(method)
    send('m', 0, START, data(LARGE))
    send('other', 0, { type: 'start' }, data(LARGE))
    send('m', 2, data(2))
    if (method === 'sendMessages') sent({ id: 'm' })
    else await answer(streamOf('m'))
    await new Promise(setImmediate)
    send('other', 2, data(LARGE))
    send('m', 3, data(3))
    send('m', 4, data(4))
    await answer(Response.json({ status: 'streaming', at: 0, chunks: [START, data(LARGE), data(2), data(3)] }))
    t.same(await read(await chunks, 5), [START, data(LARGE), data(2), data(3), data(4)])
    t.same(paths.filter((path) => path !== '/stream'), ['/bot-messages/m?at=0'], method)
  }
})

t.test('a bot message that has ended before its id is known is streamed to its end', async (t) => {
  const { chunks, paths, end, send, sent } = await openTransport('sendMessages')
  send('m', 0, START)
  end('m', 1)
  sent({ id: 'm' })
  t.same(await read(await chunks, 2), [START, undefined])
  t.same(paths, [])
})

t.test('events that were lost while the bot message is requested are requested, too', async (t) => {
  const { chunks, paths, answer, sent, reset } = await openTransport('sendMessages')
  sent({ id: 'm' })
  const stream = await chunks
  reset()
  await answer(Response.json({ status: 'streaming', at: 0, chunks: [] }))
  await answer(Response.json({ status: 'finished', at: 0, chunks: [START] }))
  t.same(await read(stream, 2), [START, undefined])
  t.same(paths, ['/bot-messages/m?at=0', '/bot-messages/m?at=0'])
})

t.test('a bot message that is no UI message, or that the server refuses, is an error', async (t) => {
  const answers = [Response.json({ status: 'finished', at: 0, text: 'a' }), new Response(null, { status: 403 })]
  for (const response of answers) {
    const { chunks, answer, sent } = await openTransport('sendMessages')
    sent({ id: 'm' })
    const stream = await chunks
    await answer(response)
    await t.rejects(read(stream, 1), { message: 'The server has no UI message "m"' })
  }
})

t.test('the chunks of a single bot message are kept, however large they are', async (t) => {
  const { chunks, paths, send, sent } = await openTransport('sendMessages')
  send('m', 0, START, data(LARGE))
  send('m', 2, data(LARGE))
  send('m', 3, data(LARGE))
  sent({ id: 'm' })
  const stream = await chunks
  send('other', 0, ...Array.from({ length: 9 }, (_, n) => data(-n)))
  send('m', 4, data(4))
  t.same(await read(stream, 5), [START, data(LARGE), data(LARGE), data(LARGE), data(4)])
  t.same(paths, [])
})

t.test('the chunks of other bot messages are dropped, the oldest first', async (t) => {
  const { chunks, paths, send, answer, sent } = await openTransport('sendMessages')
  for (const id of ['one', 'two', 'three', 'm']) send(id, 0, START, data(LARGE))
  send('two', 2, data(2))
  send('m', 2, data(2))
  sent({ id: 'two' })
  await answer(Response.json({ status: 'finished', at: 0, chunks: [START] }))
  t.same(await read(await chunks, 1), [START])
  t.same(paths, ['/bot-messages/two?at=0'])
})

t.test('no more chunks are dropped than necessary', async (t) => {
  const { chunks, paths, send, sent } = await openTransport('sendMessages')
  for (const id of ['one', 'two', 'three']) send(id, 0, START, data(LARGE))
  send('m', 0, START, data(1))
  send('four', 0, START)
  sent({ id: 'm' })
  t.same(await read(await chunks, 2), [START, data(1)])
  t.same(paths, [])
})
