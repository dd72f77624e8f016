import t from 'tap'
import { once } from 'node:events'
import { connect } from 'node:net'
import { readUIMessageStream, type UIMessage, type UIMessageChunk } from 'ai6'
import { EventStream, type StreamEvent } from '../../support/event-stream.ts'
import { ExampleApp } from '../../support/example-app.ts'
import { startExampleServices } from '../../support/example-services.ts'
import { QUICK, post, say, follow, textOf, find, answer, type Piece } from './app.ts'

// Processes and browsers start slowly on a busy machine.
t.setTimeout(180_000)

interface Report { instanceId: string, healthy: boolean, metrics: Record<string, number> }

/** For the tests that need no app of their own. Each has a chat of its own. */
const shared = await ExampleApp.start(t, { env: { ...QUICK, BOT_WORD_MS: '0', INSTANCE_ID: 'chat-7' } })

/** The next report of an instance. */
async function reportOf (stream: EventStream, instanceId: string): Promise<Report> {
  for (;;) {
    const { data } = await stream.next() as { data: Report }
    if (data.instanceId === instanceId) return data
  }
}

t.test('the page is served, without anything inline', async (t) => {
  const page = await fetch(`${shared.url}/`)
  t.match(page.headers.get('content-security-policy'), /^default-src 'self';/)
  t.notMatch(await page.text(), /<script>|<style>| style=| on\w+=/)
  for (const file of [
    'app.js', 'fastify-realtime/client.js', 'fastify-realtime/client/bot-messages.js', 'markdown-it.js', 'style.css',
    'live.css', 'answer.css', 'icon.svg', 'robo.svg'
  ]) {
    t.equal((await fetch(`${shared.url}/${file}`)).status, 200, file)
  }
  const { rooms } = await (await fetch(`${shared.url}/api/rooms`)).json() as { rooms: { id: string }[] }
  t.strictSame(rooms.map(({ id }) => id), ['general', 'support', 'random', 'dev-team'])
})

t.test('an invalid message is answered with 400', async (t) => {
  const wrong = [
    {}, { text: 'hi' }, { author: 'Ada' }, { text: '', author: 'Ada' }, { text: ' \n ', author: 'Ada' },
    { text: 'hi', author: ' ' }, { id: 'short', text: 'hi', author: 'Ada' }, { text: 'x'.repeat(2001), author: 'Ada' },
    { text: 'hi', author: 'x'.repeat(41) }, { text: 'hi', author: 'Ada', role: 'bot' }
  ]
  for (const body of wrong) {
    t.match(await post(`${shared.url}/api/chats/random/messages`, body), {
      status: 400, body: { code: 'FST_ERR_VALIDATION' }
    })
  }
  t.match(await post(`${shared.url}/api/chats/random/bot-actions`, { type: 'thinking' }), { status: 400 })
  t.match(await post(`${shared.url}/api/chats/random/messages`, { text: 'x'.repeat(2000), author: 'x'.repeat(40) }), {
    status: 202, body: { id: String }
  })
})

t.test('a client of a chat gets a message, the bot thinking, and its answer', async (t) => {
  const stream = await follow(t, shared, 'general')
  const { status, body: { id } } = await say(shared, 'general', 'what is 12 * (3 + 4)?')
  t.equal(status, 202)
  t.match(await stream.take(4), [
    {
      event: 'message',
      data: {
        type: 'message', chatId: 'general', message: { id, text: 'what is 12 * (3 + 4)?', author: 'Ada', role: 'user' }
      }
    },
    {
      event: 'bot_action',
      data: { type: 'bot_action', chatId: 'general', action: { actionType: 'thinking', inReplyTo: id } }
    },
    { event: 'message', data: { message: { text: '= 84', author: 'Robo', role: 'bot' } } },
    { event: 'bot_action', data: { action: { actionType: 'idle', inReplyTo: id } } }
  ])
  t.equal(
    (await post(`${shared.url}/api/chats/general/bot-actions`, { actionType: 'typing', detail: 'by hand' })).status, 202
  )
  t.match(await stream.next(), { event: 'bot_action', data: { action: { actionType: 'typing', detail: 'by hand' } } })
})

t.test('a message that is sent again with its id is published once, and answered once', async (t) => {
  const stream = await follow(t, shared, 'support')
  const message = { id: '1795668918303-0.25', text: '1 + 1', author: 'Ada' }
  for (let time = 0; time < 2; time++) {
    t.match(await post(`${shared.url}/api/chats/support/messages`, message), { status: 202, body: { id: message.id } })
  }
  t.match((await stream.take(4))[0], { data: { message } })
  await say(shared, 'support', 'flip')
  t.match(await stream.next(), { data: { message: { text: 'flip' } } })
})

t.test('the bot answers a message by its content', async (t) => {
  const stream = await follow(t, shared, 'lab')
  const expected: [string, RegExp][] = [
    ['help', /^Here is what I can do/],
    ['Hello', /^Hello Ada!/],
    ['2 + 3 * 4', /^= 14$/],
    ['2 ^ 3 ^ 2', /^= 512$/],
    ['-(1 + 2) * 3', /^= -9$/],
    ['0.1 + 0.2', /^= 0.3$/],
    ['1 / 0', /no result/],
    ['roll 3d6', /^🎲 [1-6] \+ [1-6] \+ [1-6] = \d+$/],
    ['roll 99d6', /1 to 20 dice/],
    ['flip', /^(Heads|Tails)\.$/],
    ['count one two  three', /^That is 3 words and 14 characters\.$/],
    ['echo <b>twice</b>', /^<b>twice<\/b>$/],
    ['time', / GMT\.$/],
    ['tell me about unicorns', /^I know nothing about that/],
    ['process.exit(1)', /^I read 3 words/],
    ['('.repeat(2000), /^I read 0 words and 2000 characters/]
  ]
  for (const [text, answer] of expected) {
    await say(shared, 'lab', text)
    t.match(textOf((await stream.take(4))[2] as StreamEvent), answer, text.slice(0, 40))
  }
})

t.test('markup and control characters arrive as they were written', async (t) => {
  const stream = await follow(t, shared, 'dev-team')
  const text = '</script><img src=x onerror="alert(1)">\r\n\r\nevent: reset\ndata: {}\n\n\u0000\u2028😀'
  await say(shared, 'dev-team', text)
  const [event] = await stream.take(1)
  t.match(event, { event: /^message$/ })
  t.equal(textOf(event as StreamEvent), text)
})

t.test('each response names its instance, also a stream of several chats', async (t) => {
  const stream = await EventStream.open(t, `${shared.url}/api/chats/events?chat=general&chat=support`)
  t.equal(stream.response.headers.get('x-instance'), 'chat-7')
  t.ok(Math.abs(Number(stream.response.headers.get('x-served-at')) - Date.now()) < 60_000)
  t.strictSame(await (await fetch(`${shared.url}/api/instance`)).json(), { instanceId: 'chat-7', restarts: false })
})

t.test('a long answer arrives word by word, and ends once', async (t) => {
  const stream = await follow(t, shared, 'long')
  for (const text of [
    'tell me a story',
    'explain rooms.',
    'what are Server-Sent Events?',
    'Tell me about presence',
    'tell me about answers',
    'tell me about resuming'
  ]) {
    await say(shared, 'long', text)
    t.match(await answer(stream), { status: 'finished', at: 0, text: /^[^]{500,}\.$/, extra: { sentAt: String } }, text)
  }
  await say(shared, 'long', 'break')
  t.match(await answer(stream), {
    status: 'failed', text: /the language model is$/, error: 'The language model stopped responding. Ask again.'
  })
})

t.test('an answer with reasoning and a tool call is a UI message that the AI SDK can read', async (t) => {
  const stream = await follow(t, shared, 'model')
  const ask = async (text: string): Promise<[status: string, message: UIMessage | undefined]> => {
    await say(shared, 'model', text)
    const { data } = await find(stream, ({ event, data }) => {
      return event === 'bot_message' && (data as Piece).status !== 'streaming'
    })
    const { id, status } = data as Piece
    const response = await fetch(`${shared.url}/api/chats/model/bot-messages/${id}`)
    const { chunks } = await response.json() as { chunks: UIMessageChunk[] }
    let message: UIMessage | undefined
    for await (message of readUIMessageStream({ stream: ReadableStream.from(chunks), onError () {} }));
    return [status, message]
  }
  const reasoning = { type: 'reasoning', state: 'done', providerMetadata: { robo: { thoughtForMs: Number } } }

  t.match(await ask('search for lease'), ['finished', {
    metadata: { sentAt: String },
    parts: [
      { type: 'step-start' },
      { ...reasoning, text: /“lease”/ },
      {
        type: 'tool-searchDocs',
        state: 'output-available',
        input: { query: 'lease', limit: 5 },
        output: { matches: [{ page: /\.md$/, section: String, text: /lease/i }], total: Number }
      },
      { type: 'step-start' },
      { type: 'text', state: 'done', text: /^The documentation has \*\*\d+ passages\*\* about “lease”/ }
    ]
  }])
  t.match(await ask('please look up a unicorn'), ['finished', { parts: { 4: { text: /^Nothing .* “a unicorn”/ } } }])
  t.match(await ask('read the manual'), ['finished', {
    parts: { 2: { type: 'tool-listPages', output: Array }, 4: { text: /^[^]{250000,}$/ } }
  }])
  t.match(await ask('break a tool'), ['failed', {
    parts: { 2: { state: 'output-error', errorText: /locked/ }, 4: { text: /from what I$/ } }
  }])
})

t.test('a client that opens a chat in the middle of a long answer gets the text so far, and can stop it', async (t) => {
  const app = await ExampleApp.start(t, { env: { ...QUICK, BOT_WORD_MS: '20' } })
  const first = await follow(t, app, 'general')
  await say(app, 'general', 'tell me a story')
  await answer(first, 5)
  const second = await EventStream.open(t, `${app.url}/api/chats/general/events`)
  const { id, whole } = await answer(second, 10)
  t.match(whole, /^Once there was a message/)
  const stopped = await fetch(`${app.url}/api/chats/general/bot-messages/${id}/stop`, { method: 'POST' })
  t.match(await stopped.json(), { id })
  const ends = await Promise.all([first, second].map((stream) => answer(stream)))
  t.match(ends, [{ id, status: 'stopped' }, { id, status: 'stopped' }])
  t.ok(ends[0]?.text.startsWith(whole), 'the text so far stays')
})

t.test('presence and typing', async (t) => {
  const ada = await EventStream.open(t, `${shared.url}/api/chats/presence/events?user=Ada`)
  const here = ({ event, data }: StreamEvent, name: string): boolean => {
    return event === 'presence' && JSON.stringify(data).includes(name)
  }
  await find(ada, (event) => here(event, 'Ada'))
  const lin = await EventStream.open(t, `${shared.url}/api/chats/presence/events`, {
    headers: { 'x-user': encodeURIComponent('Lín 😀') }
  })
  await find(ada, (event) => here(event, 'Lín 😀'))
  t.equal((await post(`${shared.url}/api/chats/presence/typing`, { user: 'Ada', typing: true })).status, 202)
  t.match(await find(lin, ({ event }) => event === 'typing'), { data: { user: 'Ada', expiresInMs: 6_000 } })
  await post(`${shared.url}/api/chats/presence/typing`, { user: 'Ada', typing: false })
  t.match(await find(lin, ({ event }) => event === 'typing'), { data: { user: 'Ada', expiresInMs: 0 } })
  t.match(await post(`${shared.url}/api/chats/presence/typing`, { user: ' ', typing: true }), { status: 400 })
  for (const name of ['%E0%A4%A', 'x'.repeat(41), '%20']) {
    const url = `${shared.url}/api/chats/presence/events`
    const anonymous = await EventStream.open(t, url, { headers: { 'x-user': name } })
    t.match(await anonymous.next(), { event: 'ready' }, 'a client without a valid name is anonymous, and may read')
  }
})

t.test('an instance is stopped only by its own page, and only if it is restarted', async (t) => {
  t.equal((await post(`${shared.url}/api/instance/stop`, { instanceId: 'chat-7' })).status, 404)

  const app = await ExampleApp.start(t, { env: { INSTANCE_ID: 'chat-1', RESTARTS: '1' } })
  const url = `${app.url}/api/instance/stop`
  t.match(await (await fetch(`${app.url}/api/instance`)).json(), { restarts: true })
  t.equal((await fetch(url, { method: 'POST' })).status, 415)
  t.equal(
    (await fetch(url, { method: 'POST', body: '{"instanceId":"chat-1"}' })).status,
    415,
    'a form of another site can send this'
  )
  t.equal((await fetch(url, { method: 'POST', body: new URLSearchParams({ instanceId: 'chat-1' }) })).status, 415)
  for (const site of ['cross-site', 'same-site']) {
    t.equal((await post(url, { instanceId: 'chat-1' }, { 'sec-fetch-site': site })).status, 403, site)
  }
  const headers = { origin: 'http://elsewhere.example', 'access-control-request-method': 'POST' }
  const preflight = await fetch(url, { method: 'OPTIONS', headers })
  t.equal(preflight.headers.get('access-control-allow-origin'), null)
  t.equal((await post(url, { instanceId: 'chat-2' })).status, 202, 'the id of another instance')
  const stream = await follow(t, app, 'general')
  t.equal((await post(url, { instanceId: 'chat-1' }, { 'sec-fetch-site': 'same-origin' })).status, 202)
  await stream.end()
  t.equal(await app.stop(), 0)
})

t.test('the stream of the health page reports every instance, and names the one that serves it', async (t) => {
  const { redis, env } = await startExampleServices(t)
  // The first one to start publishes the messages of all.
  const one = await ExampleApp.start(t, { env: { ...QUICK, ...env, INSTANCE_ID: 'chat-1' } })
  await ExampleApp.start(t, { env: { ...QUICK, ...env, INSTANCE_ID: 'chat-2' } })
  const stream = await EventStream.open(t, `${one.url}/api/status`)
  t.match(await stream.next(), { event: 'instance', data: { instanceId: 'chat-1' } })
  t.match(await reportOf(stream, 'chat-2'), {
    pages: 0,
    provider: 'redis',
    healthy: true,
    connections: { publisher: true, subscriber: true },
    metrics: { realtime_streams_open: 0 }
  })
  const before = await reportOf(stream, 'chat-1')
  t.match(before, { pages: 1, metrics: { realtime_streams_open: 1, pubsub_messages_published_total: 0 } })
  for (let message = 0; message < 3; message++) await say(one, 'general', 'hi')
  for (let published = 0; published < 12;) {
    published = (await reportOf(stream, 'chat-1')).metrics.pubsub_messages_published_total ?? 0
  }
  t.equal(
    (await reportOf(stream, 'chat-1')).metrics.pubsub_messages_published_total,
    12,
    'each message, its answer, and two bot actions; reports do not count'
  )

  await redis.kill()
  let report = await reportOf(stream, 'chat-1')
  while (report.healthy) report = await reportOf(stream, 'chat-1')
  const { pubsub_publish_failures_total: failures } = report.metrics
  t.match(
    await reportOf(stream, 'chat-1'),
    {
      healthy: false,
      connections: { publisher: false, subscriber: false },
      metrics: { pubsub_publish_failures_total: failures }
    },
    'it does not try to publish'
  )
  t.equal(await one.stop(), 0)
})

t.test('the server exits on SIGTERM and SIGINT while streams are open', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const app = await ExampleApp.start(t)
    const streams = [await follow(t, app, 'general'), await follow(t, app, 'random')]
    t.equal(await app.stop(signal), 0, signal)
    await Promise.all(streams.map((stream) => stream.end()))
  }
})

t.test('an idle connection does not delay the exit', async (t) => {
  const app = await ExampleApp.start(t)
  const connection = connect(app.port, '127.0.0.1')
  await once(connection, 'connect')
  const closed = once(connection, 'close')
  t.equal(await app.stop(), 0)
  await closed
})
