import t, { type Test } from 'tap'
import { setImmediate as immediate } from 'node:timers/promises'
import { until } from '../../support/until.ts'
import { Page, skip } from './page.ts'

t.setTimeout(60_000)

/** A request of the client that the test answers. */
interface Asked { polls: boolean, id: string | null, signal: AbortSignal, answer: (response: Response) => void }

type Event = { id?: string, event: string, data: object }

const ready = (id: string, chatId = 'a'): Event => ({ id, event: 'ready', data: { chatId, resumed: false } })
const message = (n: number): Event => ({ id: `e-${n}-${n}`, event: 'message', data: { message: { n } } })
const events = (...events: Event[]): Response => Response.json({ events })

/** A page whose requests the test answers. They also end when the client aborts them, unless polls ignore that. */
function start (t: Test, ignoresAbort = false) {
  const asked: Asked[] = []
  const page = new Page(t, '', {
    fetch: async (_url, init) => await new Promise((resolve, reject) => {
      const headers = new Headers(init?.headers)
      const signal = init?.signal as AbortSignal
      const polls = headers.get('accept') === 'application/json'
      const id = headers.get('last-event-id')
      asked.push({ polls, id, signal, answer: (response) => setImmediate(resolve, response) })
      if (!polls || !ignoresAbort) signal.addEventListener('abort', () => reject(signal.reason))
    })
  })
  /** Resolves with the next request of this kind, and forgets it. */
  const next = async (polls: boolean): Promise<Asked> => {
    await until(async () => asked.some((each) => each.polls === polls), (found) => found)
    return asked.splice(asked.findIndex((each) => each.polls === polls), 1)[0] as Asked
  }
  /** Answers the comparison of a stream that shows nothing. Resolves with the first poll. */
  const fallBack = async (): Promise<Asked> => {
    await next(false)
    ;(await next(true)).answer(events(ready('e-0-0')))
    return await next(true)
  }
  /** Checks that the comparison of a stream that shows nothing ends and changes nothing. `answer` may answer it. */
  const keepsStream = async (answer: (poll: Asked) => void): Promise<void> => {
    page.open('a')
    const stream = await next(false)
    const poll = await next(true)
    answer(poll)
    await until(async () => poll.signal.aborted, (aborted) => aborted)
    t.equal(stream.signal.aborted, false)
    t.equal(page.client.transport, 'stream')
  }
  return { page, asked, next, fallBack, keepsStream }
}

/** Answers with a stream. Returns a function that sends an event on it. */
function openStream ({ answer, signal }: Asked): (event: Event) => void {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  signal.addEventListener('abort', () => writer.abort())
  answer(new Response(readable, { headers: { 'content-type': 'text/event-stream' } }))
  return ({ id, event, data }) => {
    const frame = `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`
    writer.write(new TextEncoder().encode(frame)).catch(() => {})
  }
}

/** Answers with a stream that ends at once. */
const endStream = ({ answer }: Asked, text: string): void => {
  answer(new Response(text, { headers: { 'content-type': 'text/event-stream' } }))
}

t.test('answers of a server or a network that is not as expected', { jobs: 8 }, async (t) => {
  t.test('after an answer without an event the client waits', async (t) => {
    const { page, next, fallBack } = start(t)
    page.open('a')
    ;(await fallBack()).answer(events(ready('e-0-0')))
    await page.is('open')
    ;(await next(true)).answer(events())
    await page.is('connecting')
  })

  t.test('an error does not prove that a proxy holds the stream back', async (t) => {
    const { page, next } = start(t)
    page.open('a')
    const stream = await next(false)
    ;(await next(true)).answer(Response.json({ code: 'RT_TOO_MANY_CONNECTIONS' }, { status: 503 }))
    for (let turn = 0; turn < 10; turn++) await immediate()
    t.equal(stream.signal.aborted, false)
    t.equal(page.client.transport, 'stream')
  })

  t.test('after a poll that failed, a stream is tried at once', async (t) => {
    const { page, next, fallBack } = start(t)
    page.open('a')
    ;(await fallBack()).answer(new Response('<html>', { headers: { 'content-type': 'text/html' } }))
    openStream(await next(false))(ready('e-0-0'))
    await page.is('open')
    t.equal(page.client.transport, 'stream')
  })

  t.test('after a poll that is refused for now, a stream is tried after a wait', async (t) => {
    const { page, next, fallBack } = start(t)
    page.open('a')
    ;(await fallBack()).answer(Response.json({}, { status: 429 }))
    await until(async () => page.client.transport, (transport) => transport === 'stream')
    page.client.reconnect()
    await next(false)
  })

  t.test('a poll that is refused for now is repeated if one was answered before', async (t) => {
    const { page, next, fallBack } = start(t)
    page.open('a')
    ;(await fallBack()).answer(events(ready('e-0-0')))
    ;(await next(true)).answer(Response.json({}, { status: 429 }))
    await page.is('connecting')
    page.client.reconnect()
    await next(true)
    t.equal(page.client.transport, 'long-poll')
  })

  t.test('a poll that is answered with a stream is read as one', async (t) => {
    const { page, fallBack } = start(t)
    const seen = page.open('a')
    const send = openStream(await fallBack())
    for (const event of [ready('e-0-0'), message(1)]) send(event)
    await seen.has(1)
  })

  t.test('a chat that is opened during a poll changes no transport', async (t) => {
    const { page, next, fallBack } = start(t)
    page.open('a')
    const poll = await fallBack()
    page.open('b')
    const both = await next(true)
    t.equal(poll.signal.aborted, true)
    t.equal(both.signal.aborted, false)
    t.equal(page.client.transport, 'long-poll')
  })

  t.test('a poll that takes as long as the stream proves nothing', async (t) => {
    await start(t).keepsStream(() => {})
  })

  t.test('a server without long poll, which answers with a stream, keeps no second stream', async (t) => {
    const headers = { 'content-type': 'text/event-stream' }
    await start(t).keepsStream((poll) => poll.answer(new Response(new ReadableStream(), { headers })))
  })

  t.test('an answer to a request that was replaced moves no position', async (t) => {
    const { page, next, fallBack } = start(t, true)
    const seen = page.open('a')
    ;(await fallBack()).answer(events(ready('e-0-0')))
    const replaced = await next(true)
    // Opens the connection again.
    page.open('a')
    ;(await next(true)).answer(events(ready('e-0-0'), message(1), message(2)))
    const poll = await next(true)
    replaced.answer(events(ready('e-0-0'), message(1)))
    for (let turn = 0; turn < 10; turn++) await immediate()
    poll.answer(events(ready('e-2-2')))
    t.equal((await next(true)).id, 'e-2-2')
    t.same(seen.numbers, [1, 2])
  })
})

t.test('a stream that ends soon', async (t) => {
  const RETRY = 'retry: 100000\n'
  const READY = 'event: ready\ndata: {}\n'
  const waits = async (t: Test, page: Page, asked: Asked[]): Promise<void> => {
    await page.is('connecting')
    for (let turn = 0; turn < 10; turn++) await immediate()
    t.same(asked, [])
  }

  t.test('is replaced by polls at once', async (t) => {
    const { page, next } = start(t)
    const seen = page.open('a')
    endStream(await next(false), `${RETRY}id: e-0-0\n${READY}\n`)
    const poll = await next(true)
    t.equal(poll.id, 'e-0-0')
    poll.answer(events(ready('e-0-0'), message(1)))
    t.equal((await next(true)).id, 'e-1-1')
    t.same([seen.numbers, seen.resets], [[1], []])
    t.same(page.states, ['connecting', 'open'])
    t.equal(page.client.transport, 'long-poll')
  })

  t.test('is requested again after a wait if the poll fails, too', async (t) => {
    const { page, asked, next } = start(t)
    page.open('a')
    endStream(await next(false), `${RETRY}id: e-0-0\n${READY}\n`)
    ;(await next(true)).answer(events(ready('e-0-0'), message(1)))
    // A poll that fails after one was answered is followed by a stream at once.
    endStream(await next(true), '')
    const stream = await next(false)
    t.equal(stream.id, 'e-1-1')
    endStream(stream, `id: e-1-1\n${READY}\n`)
    endStream(await next(true), '')
    await waits(t, page, asked)
    t.equal(page.client.transport, 'stream')
  })

  t.test('and did not begin is requested again after a wait, and replaced by polls if that fails, too', async (t) => {
    const { page, asked, next } = start(t)
    page.open('a')
    endStream(await next(false), '')
    await waits(t, page, asked)
    page.client.reconnect()
    endStream(await next(false), '')
    endStream(await next(true), '')
    // The call of `reconnect` spares one wait.
    endStream(await next(false), '')
    await waits(t, page, asked)
    t.equal(page.client.transport, 'stream')
  })

  for (const [reason, text] of [
    ['the server has asked to wait', `id: e-0-0\n${READY}\n${RETRY}\n`],
    ['the server asked for nothing but to wait', `${RETRY}\n`],
    ['the server keeps no history', `${RETRY}${READY}\n`]
  ] as const) {
    t.test(`is requested again after a wait if ${reason}`, async (t) => {
      const { page, asked, next } = start(t)
      page.open('a')
      endStream(await next(false), text)
      await waits(t, page, asked)
      t.equal(page.client.transport, 'stream')
    })
  }
})

t.test('a stream that is quiet after an event', async (t) => {
  /** Opens a chat whose stream has got the first message. Resolves once a poll beside it asks for the next one. */
  const compare = async (t: Test) => {
    const { page, asked, next } = start(t)
    const seen = page.open('a')
    const stream = await next(false)
    const send = openStream(stream)
    send(ready('e-0-0'))
    await page.is('open')
    send(message(1))
    const poll = await next(true)
    t.equal(poll.id, 'e-1-1')
    return { page, asked, next, seen, stream, send, poll }
  }

  t.test('is replaced by polls if only the poll gets the next one', async (t) => {
    const { page, next, seen, stream, poll } = await compare(t)
    poll.answer(events(ready('e-1-1'), message(2)))
    ;(await next(true)).answer(events(ready('e-1-1'), message(2)))
    await seen.has(2)
    t.equal(stream.signal.aborted, true)
    t.equal(page.client.transport, 'long-poll')
    t.same([seen.numbers, seen.resets], [[1, 2], []])
  })

  for (const [first, again] of [['stream', 'after a while'], ['poll', 'at once']] as const) {
    t.test(`is kept if it gets the next one, and is compared again ${again} if the ${first} is first`, async (t) => {
      const { page, next, seen, stream, send, poll } = await compare(t)
      const steps = [
        async () => { send(message(2)); await seen.has(2) },
        async () => {
          poll.answer(events(ready('e-1-1'), message(2)))
          await until(async () => poll.signal.aborted, (aborted) => aborted)
        }
      ]
      for (const step of first === 'stream' ? steps : steps.reverse()) await step()
      if (first === 'stream') skip(t, 31_000)
      t.equal((await next(true)).id, 'e-2-2')
      t.equal(stream.signal.aborted, false)
      t.equal(page.client.transport, 'stream')
    })
  }

  t.test('is not compared again for a while', async (t) => {
    const { asked, poll, send } = await compare(t)
    poll.answer(events())
    send(message(2))
    // Another client is quiet as long.
    await compare(t)
    t.same(asked, [])
  })
})

t.test('when the stream is tried again', async (t) => {
  t.test('connections that notice the same count once', async (t) => {
    const { page, next } = start(t)
    for (const id of ['a', 'b']) page.open(id)
    const refused = { code: 'RT_TOO_MANY_CHATS', message: 'At most 1 chats' }
    ;(await next(false)).answer(Response.json(refused, { status: 400 }))
    for (let n = 0; n < 2; n++) await next(false)
    const compared = [await next(true), await next(true)] as const
    compared[0].answer(events(ready('e-0-0')))
    const poll = await next(true)
    compared[1].answer(events(ready('e-0-0')))
    for (let turn = 0; turn < 10; turn++) await immediate()
    t.equal(page.client.transport, 'long-poll')
    skip(t, 31_000)
    poll.answer(events(ready('e-0-0')))
    await next(false)
  })

  t.test('it is not tried once the client is closed', async (t) => {
    const { page, asked, fallBack } = start(t)
    const { chat } = page.open('a')
    const poll = await fallBack()
    skip(t, 31_000)
    let closed = false
    chat.on('message', () => { page.client.close(); closed = true })
    poll.answer(events(ready('e-0-0'), message(1)))
    await until(async () => closed, (closed) => closed)
    t.same(asked, [])
  })

  t.test('a stream that replaces the polls is compared once it is quiet', async (t) => {
    const { page, next, fallBack } = start(t)
    page.open('a')
    const poll = await fallBack()
    skip(t, 31_000)
    poll.answer(events(ready('e-0-0')))
    openStream(await next(false))(ready('e-0-0'))
    await until(async () => page.client.transport, (transport) => transport === 'stream')
    const send = openStream(await next(false))
    for (const event of [ready('e-0-0'), message(1)]) send(event)
    // The polls from before were aborted.
    await until(async () => (await next(true)).id, (id) => id === 'e-1-1')
  })

  t.test('a page of a proxy is no stream', async (t) => {
    const { page, next, fallBack } = start(t)
    page.open('a')
    const poll = await fallBack()
    skip(t, 31_000)
    poll.answer(events(ready('e-0-0')))
    const stream = await next(false)
    stream.answer(new Response('<h1>Blocked</h1>', { headers: { 'content-type': 'text/html' } }))
    await until(async () => stream.signal.aborted, (aborted) => aborted)
    t.equal(page.client.transport, 'long-poll')
  })
})
