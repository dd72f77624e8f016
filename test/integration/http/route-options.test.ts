import t from 'tap'
import cookie from '@fastify/cookie'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyBaseLogger, type FastifyRequest } from 'fastify'
import realtimePlugin, { type RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { keepLines } from '../../support/log.ts'

const SECRET = 's3cret'
const STREAMS = ['/api/chats/c/events', '/api/chats/events?chat=c']
const ROUTES = [...STREAMS, '/api/health/pubsub']

t.test('a global rate limit answers streams with 429', async (t) => {
  const setup = (app: ReturnType<typeof Fastify>): unknown => app.register(rateLimit, { max: 1 })
  const { url } = await startApp(t, {}, { setup })
  t.match(await (await EventStream.open(t, url + STREAMS[0])).next(), { event: 'ready' })
  for (const path of STREAMS) t.equal((await fetch(url + path)).status, 429)
})

t.test('routeOptions exempt only these routes from a global rate limit', async (t) => {
  const { url } = await startApp(t, { routeOptions: { config: { rateLimit: false } } }, {
    setup: async (app) => {
      await app.register(rateLimit, { max: 1 })
      app.get('/other', async () => 'fine')
    }
  })
  for (const path of [...STREAMS, ...STREAMS]) {
    t.match(await (await EventStream.open(t, url + path)).next(), { event: 'ready' })
  }
  t.equal((await fetch(`${url}/other`)).status, 200)
  t.equal((await fetch(`${url}/other`)).status, 429)
})

t.test('a rate limit of the routes does not change the app\'s lists of hooks', async (t) => {
  const asked: string[] = []
  const onRequest = [async (request: FastifyRequest) => { asked.push(request.url) }]
  const routeOptions = { onRequest, config: { rateLimit: { max: 1 } } }
  const { app } = await startApp(t, { authorize: () => false, routeOptions }, {
    setup: (app) => app.register(rateLimit, { global: false })
  })
  for (const url of ROUTES) {
    t.not((await app.inject(url)).statusCode, 429, url)
    t.equal((await app.inject(url)).statusCode, 429, url)
  }
  t.same(asked, ROUTES.flatMap((url) => [url, url]))
  t.equal(onRequest.length, 1)
})

t.test('hooks, schema and constraints hold for every route of the plugin', async (t) => {
  const routeOptions: RealtimeOptions['routeOptions'] = {
    constraints: { host: 'chat.test' },
    schema: { headers: { type: 'object', required: ['x-app'] } },
    preHandler: async ({ headers }, reply) => headers['x-app'] === 'mine' ? undefined : await reply.code(401).send()
  }
  const { app } = await startApp(t, { authorize: () => false, routeOptions })
  const status = async (url: string, headers: Record<string, string>): Promise<number> =>
    (await app.inject({ url, headers })).statusCode
  for (const url of ROUTES) {
    t.equal(await status(url, { host: 'other.test', 'x-app': 'mine' }), 404)
    t.equal(await status(url, { host: 'chat.test' }), 400)
    t.equal(await status(url, { host: 'chat.test', 'x-app': 'theirs' }), 401)
    const answer = STREAMS.includes(url) ? 403 : 200
    t.equal(await status(url, { host: 'chat.test', 'x-app': 'mine' }), answer)
  }
})

t.test('with logLevel, the requests of the routes are not logged', async (t) => {
  const { lines, write } = keepLines()
  const server = { logger: { stream: { write } } }
  const { app } = await startApp(t, { authorize: () => false, routeOptions: { logLevel: 'silent' } }, { server })
  lines.length = 0
  for (const url of ROUTES) await app.inject(url)
  t.same(lines, [])
  await app.inject('/missing')
  t.match(lines.join(''), '/missing')
})

t.test('a childLoggerFactory of routeOptions makes the loggers, which see no query', async (t) => {
  const { lines, write } = keepLines()
  const made: unknown[] = []
  const { app } = await startApp(t, {
    authorize: () => false,
    routeOptions: {
      logSerializers: { req: ({ url }: FastifyRequest) => ({ asked: url }) },
      childLoggerFactory (logger, bindings, options): FastifyBaseLogger {
        made.push(this.prefix)
        return logger.child({ ...bindings, by: 'the app' }, options)
      }
    }
  }, { server: { logger: { stream: { write } } } })
  lines.length = 0
  await app.inject(`/api/chats/c/events?ticket=${SECRET}`)
  await app.inject(`/api/chats/events?chat=c&ticket=${SECRET}`)
  t.equal(made.length, 2)
  t.ok(lines.every((line) => line.includes('"by":"the app"')))
  for (const path of ['/api/chats/c/events', '/api/chats/events']) t.match(lines.join(''), `"asked":"${path}"`)
  t.notMatch(lines.join(''), SECRET)
})

t.test('options that would break the routes are refused at registration, with the name and the fix', async (t) => {
  const refused: [object | null, RegExp][] = [
    [{ method: 'POST' }, /`routeOptions\.method` .*GET.*reply\.sse\.chat/],
    [{ url: '/x' }, /`routeOptions\.url` .*prefix/],
    [{ path: '/x' }, /`routeOptions\.path` .*prefix/],
    [{ handler: () => {} }, /`routeOptions\.handler` .*reply\.sse\.chat/],
    [{ exposeHeadRoute: true }, /`routeOptions\.exposeHeadRoute` .*Leave it out/],
    [{ attachValidation: true }, /`routeOptions\.attachValidation` .*Leave it out/],
    [{ sse: true }, /`routeOptions\.sse` .*@fastify\/sse.*Leave it out/],
    [{ websocket: true }, /`routeOptions\.websocket` .*route of your own/],
    [{ wsHandler: () => {} }, /`routeOptions\.wsHandler` .*route of your own/],
    [{ childLoggerFactory: 'pino' }, /`routeOptions\.childLoggerFactory` to be a function, got string/],
    [[], /`routeOptions` .*got an array/],
    [null, /`routeOptions` .*got null/],
    [(() => {}) as object, /`routeOptions` .*got function/]
  ]
  for (const [routeOptions, message] of refused) {
    const app = Fastify()
    const registered = app.register(realtimePlugin, { routeOptions } as RealtimeOptions)
    await t.rejects(Promise.resolve(registered), { code: 'RT_OPTION_INVALID', message })
  }
})

t.test('an undefined option counts as not given', async (t) => {
  const routeOptions = {
    childLoggerFactory: undefined, handler: undefined, exposeHeadRoute: undefined, onRequest: undefined
  }
  const { app } = await startApp(t, { authorize: () => false, routeOptions: routeOptions as object })
  for (const url of STREAMS) {
    t.equal((await app.inject(url)).statusCode, 403)
    t.equal((await app.inject({ url, method: 'HEAD' })).statusCode, 404)
  }
})

t.test('headers that are set before the stream opens reach it; setCookie and onSend hooks do not', async (t) => {
  const { url } = await startApp(t, {
    routeOptions: {
      onRequest: async (_request, reply) => {
        reply.setCookie('lost', '1')
        reply.header('set-cookie', reply.server.serializeCookie('one', 'a b', { path: '/', httpOnly: true }))
        reply.header('set-cookie', reply.server.serializeCookie('two', '2'))
        reply.header('x-early', 'kept')
      },
      onSend: async (_request, reply) => { reply.header('x-late', 'lost') }
    }
  }, { setup: (app) => app.register(cookie) })
  for (const path of STREAMS) {
    const { response } = await EventStream.open(t, url + path)
    t.same(response.headers.getSetCookie(), ['one=a%20b; Path=/; HttpOnly', 'two=2'])
    t.equal(response.headers.get('x-early'), 'kept')
    t.equal(response.headers.get('x-late'), null)
  }
  const { headers } = await fetch(`${url}/api/health/pubsub`)
  t.match(headers.getSetCookie().join(), 'lost=1', 'an ordinary response has both')
  t.equal(headers.get('x-late'), 'lost')
})
