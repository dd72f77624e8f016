import t, { type Test } from 'tap'
import net from 'node:net'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import realtimePlugin, {
  LocalPubSub, type ChatEvent, type PubSubProvider, type RealtimeOptions
} from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { HeldAuthorize } from '../../support/held-authorize.ts'
import { keepLines } from '../../support/log.ts'
import { startRedis } from '../../support/redis.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'

t.beforeEach(nothingUnhandled)

const PATH = '/api/chats/c/events'
const REACTION = { type: 'reaction', user: 'ann' }

interface Answer { status: number, body: Record<string, unknown> }

interface Sent { path?: string, type?: string | undefined, key?: string | string[], headers?: Record<string, string> }

async function post (
  app: FastifyInstance, body: unknown, { path = PATH, type = 'application/json', key, headers = {} }: Sent = {}
): Promise<Answer> {
  const { statusCode: status, payload } = await app.inject({
    method: 'POST',
    url: path,
    headers: {
      ...type !== '' && { 'content-type': type }, ...key !== undefined && { 'idempotency-key': key }, ...headers
    },
    payload: typeof body === 'string' || body instanceof Buffer ? body : JSON.stringify(body)
  })
  return { status, body: JSON.parse(payload) }
}

/** An app whose route anyone may use, and the events that its handlers get. */
async function open (
  t: Test, options: RealtimeOptions = {}, setup?: (app: FastifyInstance) => unknown
): Promise<{ app: FastifyInstance, url: string, got: ChatEvent[] }> {
  const given = { publishRoute: { authorize: () => true }, ...options }
  const { app, url } = await startApp(t, given, setup && { setup })
  const got: ChatEvent[] = []
  app.chatEvents.onChatEvent('c', (event) => { got.push(event) })
  return { app, url, got }
}

/** Publishes one more event; whatever was published before has arrived then. */
async function settled (app: FastifyInstance, got: ChatEvent[]): Promise<ChatEvent[]> {
  const arrived = new Promise<void>((resolve) => {
    const stop = app.chatEvents.onChatEvent('c', (event) => {
      if ((event as { type: string }).type === 'last') { stop(); resolve() }
    })
  })
  await app.chatEvents.publish('c', { type: 'last' } as never)
  await arrived
  return got.filter(({ type }) => type as string !== 'last')
}

t.test('an event is published by its body, and the chat is the one of the path', async (t) => {
  const { app, url } = await open(t)
  const stream = await EventStream.open(t, url + PATH)
  await stream.next()
  const { status, body } = await post(app, { ...REACTION, chatId: 'another' })
  t.equal(status, 202)
  t.same(body, { id: body.id, duplicate: false })
  t.same(await stream.next(), { event: 'reaction', id: body.id, data: { ...REACTION, chatId: 'c' } })
  t.match(await post(app, { type: 'message', message: { text: 'x' } }, { type: 'Application/JSON ; charset=utf-8' }), {
    status: 202
  })
  t.match(await stream.next(), { event: 'message', data: { chatId: 'c', message: { text: 'x' } } })
})

t.test('there is no such route without the option', async (t) => {
  for (const options of [{}, { publishRoute: false as const }]) {
    const { app } = await startApp(t, options)
    t.equal((await post(app, REACTION)).status, 404)
  }
})

t.test('the option is refused without a function that authorizes', async (t) => {
  const refused: [unknown, RegExp][] = [
    [{}, /`publishRoute` needs `authorize`/],
    [{ authorize: undefined }, /`publishRoute` needs `authorize`/],
    [{ authorize: true }, /`publishRoute\.authorize` to be a function, got boolean/],
    [true, /`publishRoute` to be \{ authorize \} or false, got boolean/],
    [null, /`publishRoute` .*got null/],
    [{ authorize: () => true, authorise: () => true }, /no option `publishRoute\.authorise`/]
  ]
  for (const [publishRoute, message] of refused) {
    const app = Fastify()
    const registered = app.register(realtimePlugin, { publishRoute } as RealtimeOptions)
    await t.rejects(Promise.resolve(registered), { code: 'RT_OPTION_INVALID', message })
  }
})

t.test('only true or a valid grant lets a request publish', async (t) => {
  const answers: unknown[] = [
    false, undefined, null, 0, 1, 'yes', '', {}, [], { role: 'admin' }, { userId: 5 }, { userId: 'ann', expiresAt: 1 }
  ]
  let answer: unknown
  const { app, got } = await open(t, { publishRoute: { authorize: async () => answer as boolean } })
  for (answer of answers) t.match(await post(app, REACTION), { status: 403, body: { code: 'RT_FORBIDDEN' } })
  t.same(await settled(app, got), [])
  for (answer of [true, { userId: 'ann' }]) t.match(await post(app, REACTION), { status: 202 })
})

t.test('authorize is called with the request and the chat, and its error is the answer', async (t) => {
  const asked: unknown[] = []
  const authorize = ({ headers }: FastifyRequest, chatId: string): boolean => {
    asked.push(chatId)
    if (headers.authorization === 'Bearer secret') return true
    throw Object.assign(new Error('Sign in first'), { statusCode: 401 })
  }
  const { app, got } = await open(t, { publishRoute: { authorize } })
  t.match(await post(app, REACTION), { status: 401, body: { message: 'Sign in first' } })
  t.same(await settled(app, got), [])
  t.match(await post(app, REACTION, { headers: { authorization: 'Bearer secret' } }), { status: 202 })
  t.same(asked, ['c', 'c'])
})

t.test('the option authorize of the streams does not decide who may publish, nor the other way round', async (t) => {
  const { app } = await open(t, { authorize: () => false })
  t.match(await post(app, REACTION), { status: 202 })
  t.equal((await app.inject(PATH)).statusCode, 403)
})

t.test('a revocation during authorize refuses the publish', async (t) => {
  const held = new HeldAuthorize()
  const { app, got } = await open(t, { publishRoute: { authorize: held.authorize } })
  const called = held.nextCall()
  const posted = post(app, REACTION)
  await called
  await app.chatEvents.revoke('c', 'ann')
  held.resolve({ userId: 'ann' })
  t.match(await posted, { status: 403, body: { code: 'RT_FORBIDDEN' } })
  t.same(await settled(app, got), [])
})

t.test('a body that is not an event of the app is refused, and nothing is published', async (t) => {
  const { app, got } = await open(t, { maxPayloadBytes: 200 })
  type Row = [status: number, code: string, body: unknown, sent: Sent]
  const json = (status: number, code: string, body: unknown): Row => [status, code, body, {}]
  const text = 'x'.repeat(200 - '{"type":"reaction","text":""}'.length)
  const rows: Row[] = [
    ...['ready', 'reset', 'refused', 'error', 'open', 'bot_message', 'presence', 'typing', 'a b', '', 5, null].map(
      (type) => json(400, 'RT_EVENT_TYPE_INVALID', { type, users: ['eve'] })
    ),
    json(400, 'RT_EVENT_TYPE_INVALID', {}),
    json(400, 'RT_EVENT_TYPE_INVALID', '[{ "type": "reaction" }]'),
    json(400, 'RT_EVENT_TYPE_INVALID', '"reaction"'),
    json(400, 'RT_EVENT_TYPE_INVALID', 'null'),
    json(400, 'RT_PAYLOAD_INVALID', { type: 'message' }),
    json(400, 'RT_PAYLOAD_INVALID', { type: 'bot_action', action: 5 }),
    json(400, 'RT_PAYLOAD_INVALID', '{"type":"reaction"'),
    json(400, 'RT_PAYLOAD_INVALID', '{"type":"reaction","__proto__":{"a":1}}'),
    json(400, 'RT_PAYLOAD_INVALID', ''),
    json(413, 'RT_PAYLOAD_TOO_LARGE', { type: 'reaction', text: 'x'.repeat(200) }),
    // The body fits, but not the event with its chat.
    json(413, 'RT_PAYLOAD_TOO_LARGE', { type: 'reaction', text }),
    [415, 'RT_CONTENT_TYPE_INVALID', REACTION, { type: 'text/plain' }],
    [415, 'RT_CONTENT_TYPE_INVALID', REACTION, { type: 'application/x-www-form-urlencoded' }],
    [415, 'RT_CONTENT_TYPE_INVALID', REACTION, { type: 'application/jsonp' }],
    [415, 'RT_CONTENT_TYPE_INVALID', REACTION, { type: 'nonsense' }],
    [415, 'RT_CONTENT_TYPE_INVALID', '', { type: '' }]
  ]
  for (const [status, code, body, sent] of rows) {
    t.match(await post(app, body, sent), { status, body: { code, statusCode: status } }, JSON.stringify([body, sent]))
  }
  t.same(await settled(app, got), [])
})

t.test('an invalid chat id is refused before authorize is called', async (t) => {
  const authorize = (): boolean => { t.fail('called'); return true }
  const app = Fastify({ routerOptions: { maxParamLength: 5_000 } })
  t.teardown(() => app.close())
  await app.register(realtimePlugin, { publishRoute: { authorize } })
  t.match(await post(app, REACTION, { path: `/api/chats/${'x'.repeat(1_025)}/events` }), {
    status: 400, body: { code: 'RT_CHAT_ID_INVALID' }
  })
})

t.test('a body that ends early is refused', async (t) => {
  const { app, url, got } = await open(t)
  t.match(await post(app, REACTION, { headers: { 'content-length': '5' } }), {
    status: 400, body: { code: 'RT_PAYLOAD_INVALID', message: /Send all of it/ }
  })
  const closed = new Promise((resolve) => app.server.once('connection', (socket) => socket.once('close', resolve)))
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  const body = JSON.stringify(REACTION)
  socket.write(`POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${body.length + 1}\r\n\r\n${body}`)
  socket.end()
  await closed
  t.same(await settled(app, got), [])
})

t.test('with the same Idempotency-Key an event is published once', async (t) => {
  const redis = await startRedis(t)
  for (const redisUrl of [undefined, redis.url]) {
    const { app, got } = await open(t, { redisUrl, keyPrefix: `${redisUrl === undefined}:` })
    const [first, ...others] = await Promise.all([1, 2, 3].map(() => post(app, REACTION, { key: '"order-42"' })))
    t.match(first, { status: 202, body: { duplicate: false } })
    for (const other of others) t.same(other, { status: 202, body: { id: first?.body.id, duplicate: true } })
    for (let n = 0; n < 12; n++) t.match(await post(app, { ...REACTION, n }), { status: 202 })
    t.match(await post(app, REACTION, { key: ' "order-42";v=1; t="a;b"' }), { body: { duplicate: true } })
    const elsewhere = await post(app, REACTION, { key: '"order-42"', path: '/api/chats/d/events' })
    t.match(elsewhere, { body: { duplicate: false } })
    t.equal((await settled(app, got)).length, 13)
  }
})

t.test('an Idempotency-Key that was used for another event is refused', async (t) => {
  const redis = await startRedis(t)
  for (const redisUrl of [undefined, redis.url]) {
    const { app, got } = await open(t, { redisUrl, keyPrefix: `${redisUrl === undefined}:` })
    const key = '"order-42"'
    t.match(await post(app, REACTION, { key }), { status: 202 })
    for (let n = 0; n < 12; n++) await post(app, { ...REACTION, n })
    t.match(await post(app, { ...REACTION, user: 'bob' }, { key }), {
      status: 422, body: { code: 'RT_IDEMPOTENCY_KEY_REUSED' }
    })
    t.equal((await settled(app, got)).length, 13)
  }
})

t.test('if the history does not reach back to the event of a key, the key alone decides', async (t) => {
  const { app, got } = await open(t, { history: { size: 1 } })
  t.match(await post(app, REACTION, { key: '"a"' }), { status: 202 })
  await settled(app, got)
  t.match(await post(app, { ...REACTION, user: 'bob' }, { key: '"a"' }), { status: 202, body: { duplicate: true } })
})

t.test('the header must be one string in double quotes', async (t) => {
  const { app, got } = await open(t)
  const refused = [
    'order-42', '', '""', '"a', 'a"', '"a" "b"', '"a", "b"', ['"a"', '"b"'], '5', ':YQ==:', '"a\\b"', '"ä"', '"\t"',
    '("a")', '"a";', `"${'x'.repeat(201)}"`
  ]
  for (const key of refused) {
    const expected = { status: 400, body: { code: 'RT_IDEMPOTENCY_KEY_INVALID' } }
    t.match(await post(app, REACTION, { key }), expected, String(key))
  }
  t.same(await settled(app, got), [])
  const accepted = [
    '"a"', '"\\"quoted\\" \\\\"', '" "', `"${'x'.repeat(200)}"`, '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
    '"!#[]~";*a=?1;b'
  ]
  for (const key of accepted) t.match(await post(app, REACTION, { key }), { body: { duplicate: false } }, key)
})

t.test('keys of the route and keys of the app never meet', async (t) => {
  const { app } = await open(t)
  const redis = await startRedis(t)
  const shared = await open(t, { redisUrl: redis.url })
  for (const { chatEvents, inject } of [app, shared.app].map((each) =>
    ({ chatEvents: each.chatEvents, inject: (key: string) => post(each, REACTION, { key }) }))) {
    const { body } = await inject('"a"')
    for (const key of ['a', '"a"']) {
      const { id, duplicate } = await chatEvents.publish('c', REACTION as never, { idempotencyKey: key })
      t.notOk(duplicate)
      t.not(id, body.id)
    }
    await t.rejects(chatEvents.publish('c', REACTION as never, { idempotencyKey: 'fastify-realtime:a' }), {
      code: 'RT_IDEMPOTENCY_KEY_INVALID', message: /begins with "fastify-realtime:", which is reserved/
    })
  }
})

t.test('a provider of the app is guarded in the same way', async (t) => {
  const local = new LocalPubSub()
  t.teardown(() => local.close())
  const given: unknown[] = []
  const pubsub: PubSubProvider = {
    name: 'own',
    publish: async (channel, data, options) => {
      given.push(options?.idempotencyKey)
      return { ...await local.publish(channel, data), duplicate: given.length > 1 }
    },
    subscribe: (...args) => local.subscribe(...args),
    subscribeExact: (...args) => local.subscribeExact(...args),
    isHealthy: () => local.isHealthy(),
    close: () => local.close()
  }
  const { app } = await open(t, { pubsub })
  const chatEvents = app.chatEvents
  await t.rejects(chatEvents.publish('c', REACTION as never, { idempotencyKey: 'fastify-realtime:a' }), {
    code: 'RT_IDEMPOTENCY_KEY_INVALID'
  })
  await chatEvents.publish('c', REACTION as never, { idempotencyKey: 'a' })
  await chatEvents.publish('c', REACTION as never)
  t.match(await post(app, REACTION, { key: '"a"' }), { status: 202 })
  t.equal(given.length, 3)
  t.match(given[2], /^fastify-realtime:[\w-]{43}$/)
})

t.test('without history there is no id, and a key has no effect', async (t) => {
  const { app } = await open(t, { history: false })
  for (let n = 0; n < 2; n++) {
    t.same(await post(app, REACTION, { key: '"a"' }), { status: 202, body: { duplicate: false } })
  }
})

t.test('if Redis is out of reach, nothing is published and the answer says so', async (t) => {
  const redis = await startRedis(t)
  const { app } = await open(t, { redisUrl: redis.url, publishTimeoutMs: 2_000 })
  t.match(await post(app, REACTION), { status: 202 })
  await redis.stop()
  const { status, body } = await post(app, REACTION)
  t.equal(status, 503)
  t.match(body.code, /^RT_PUBLISH_(REJECTED|UNKNOWN)$/)
})

t.test('routeOptions and hooks hold for the route, also hooks that are added later', async (t) => {
  const { lines, write } = keepLines()
  const app = Fastify({ logger: { stream: { write } } })
  t.teardown(() => app.close())
  await app.register(realtimePlugin, {
    publishRoute: { authorize: () => true },
    routeOptions: {
      preHandler: async ({ headers }, reply) => { if (headers['x-app'] !== 'mine') await reply.code(401).send({}) },
      errorHandler: async (error, _request, reply) => await reply.code(418).send({ got: error.code })
    }
  })
  const order: string[] = []
  app.addHook('onRequest', async () => { order.push('late') })
  t.match(await post(app, REACTION), { status: 401 })
  const headers = { 'x-app': 'mine' }
  t.match(await post(app, REACTION, { headers, path: `${PATH}?ticket=s3cret` }), { status: 202 })
  t.same(order, ['late', 'late'])
  t.same(await post(app, '{', { headers }), { status: 418, body: { got: 'RT_PAYLOAD_INVALID' } })
  t.same(await post(app, 'x'.repeat(70_000), { headers }), { status: 418, body: { got: 'RT_PAYLOAD_TOO_LARGE' } })
  t.same(await post(app, {}, { headers }), { status: 418, body: { got: 'RT_EVENT_TYPE_INVALID' } })
  t.notMatch(lines.join(''), 's3cret')
})

t.test('an error handler that the app sets gets the errors of this package, and others unchanged', async (t) => {
  const preValidation = async ({ headers }: FastifyRequest): Promise<void> => {
    if ('x-fail' in headers) throw new Error('mine')
  }
  const { app } = await open(t, { routeOptions: { preValidation } }, (app) => app.setErrorHandler(
    async ({ code, message }: { code?: string, message: string }, _request, reply) =>
      await reply.code(418).send({ code, message })
  ))
  t.match(await post(app, '{'), { status: 418, body: { code: 'RT_PAYLOAD_INVALID' } })
  t.same(await post(app, REACTION, { headers: { 'x-fail': '' } }), { status: 418, body: { message: 'mine' } })
})

t.test('the traceparent of the request is that of the event', async (t) => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const { app } = await open(t)
  const info = new Promise((resolve) => {
    app.chatEvents.onChatEvent('c', (_event, { traceparent }) => resolve(traceparent))
  })
  t.match(await post(app, REACTION, { headers: { traceparent } }), { status: 202 })
  t.equal(await info, traceparent)
})
