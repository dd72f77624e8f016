import t, { type Test } from 'tap'
import { once } from 'node:events'
import http2 from 'node:http2'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyRequest } from 'fastify'
import type { FastifyServerOptions } from 'fastify'
import { pino, stdSerializers, type LoggerOptions } from 'pino'
import realtimePlugin from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { keepLines } from '../../support/log.ts'

const SECRET = 's3cret'
const PATH = '/api/chats/c/events'

// pino's serializers accept Fastify's requests, too, but their types name only Node's.
const serializers = stdSerializers as { [name in keyof typeof stdSerializers]: () => never }

interface Circumstances { lines: string[], url?: string, setup?: (app: FastifyInstance) => unknown }

/** The app's log of a request to a stream with a ticket in its query. */
async function logged (t: Test, options: FastifyServerOptions, circumstances: Circumstances): Promise<string> {
  const { lines, url = `${PATH}?ticket=${SECRET}`, setup = () => {} } = circumstances
  const app = Fastify(options)
  t.teardown(() => app.close())
  setup(app)
  await app.register(realtimePlugin, { authorize: () => false })
  const { statusCode } = await app.inject({ url, headers: { 'x-forwarded-uri': url } })
  t.equal(statusCode, 403)
  return lines.join('')
}

/** The fields of a request that serializers read. */
interface Logged { url: string, originalUrl: string, query: object, raw: { url: string, originalUrl?: string } }

const kinds: Record<string, LoggerOptions> = {
  'the default ones': {},
  'those of pino': { serializers: stdSerializers },
  'one that names the URL otherwise': {
    serializers: {
      req: ({ url, originalUrl, query, raw }: Logged) => ({
        path: url, originalUrl, query, raw: [raw.url, raw.originalUrl]
      })
    }
  },
  'one that returns a text': {
    serializers: { req: ({ url, query }: Logged) => `GET ${url} ${JSON.stringify(query)}` }
  },
  'one for replies that looks at the request': {
    serializers: { res: ({ request, raw }) => ({ url: request?.url, raw: raw?.req.url }) }
  },
  'one for the whole line': {
    serializers: { [Symbol.for('pino.*')]: ({ req }: { req?: Logged }) => ({ url: req?.url }) }
  },
  'a formatter': {
    formatters: { log: ({ req }) => ({ url: (req as Logged | undefined)?.url }) }
  },
  'a hook': {
    hooks: {
      logMethod ([line], method) { method.apply(this, [{ url: (line as { req?: Logged }).req?.url }] as never) }
    }
  }
}

for (const [kind, options] of Object.entries(kinds)) {
  t.test(`the query of a stream is not logged with any serializers of the app: ${kind}`, async (t) => {
    const { lines, write } = keepLines()
    const text = await logged(t, { logger: { level: 'trace', stream: { write }, ...options } as never }, { lines })
    t.match(text, `${PATH}`)
    t.notMatch(text, SECRET)
  })
}

t.test('serializers receive everything else of a request', async (t) => {
  const { lines, write } = keepLines()
  const req = ({ id, params, ip, headers, host, raw }: FastifyRequest): object =>
    ({ id, params, ip, host, uri: headers['x-forwarded-uri'], method: raw.method })
  const text = await logged(t, { logger: { stream: { write }, serializers: { req } } as never }, { lines })
  const incoming = text.split('\n').find((line) => line.includes('incoming request')) as string
  const seen = { id: 'req-1', params: { chatId: 'c' }, ip: '127.0.0.1', host: 'localhost:80', uri: PATH, method: 'GET' }
  t.same(JSON.parse(incoming).req, seen)
})

t.test('a query that begins with a semicolon is not logged', async (t) => {
  const { lines, write } = keepLines()
  const options: object = { logger: { stream: { write } }, routerOptions: { useSemicolonDelimiter: true } }
  const text = await logged(t, options, { lines, url: `${PATH};ticket=${SECRET}` })
  t.match(text, PATH)
  t.notMatch(text, SECRET)
})

t.test('the query of a rewritten URL is not logged', async (t) => {
  const { lines, write } = keepLines()
  const logger = { stream: { write }, serializers }
  const text = await logged(t, { logger, rewriteUrl: () => PATH }, { lines, url: `/from?ticket=${SECRET}` })
  t.match(text, '/from')
  t.notMatch(text, SECRET)
})

t.test('a logger that is not pino receives no query', async (t) => {
  const lines: string[] = []
  const keep = (line: { req?: Logged }): void => { lines.push(String(line.req?.url)) }
  const levels = { info: keep, error: keep, debug: keep, fatal: keep, warn: keep, trace: keep }
  const log = { ...levels, level: 'info', child: () => log }
  const text = await logged(t, { loggerInstance: log as never }, { lines })
  t.match(text, PATH)
  t.notMatch(text, SECRET)
})

t.test('log lines of the app\'s hooks about a stream contain no query', async (t) => {
  const { lines, write } = keepLines()
  const own = { ...stdSerializers, inner: stdSerializers.req }
  const loggerInstance = pino({ customLevels: { loud: 35 }, level: 'fatal', serializers: own }, { write })
  const text = await logged(t, { loggerInstance: loggerInstance as unknown as FastifyBaseLogger }, {
    lines,
    setup: (app) => app.addHook('onRequest', async (request, reply) => {
      request.log.level = 'trace'
      t.equal(request.log.level, 'trace')
      const log = request.log as FastifyBaseLogger & typeof loggerInstance
      log.loud({ req: request }, 'a level of its own')
      log.info(request.raw, 'the raw one, which pino takes for %s', 'a request')
      log.info({ inner: request.raw, ['res' as string]: reply.raw }, request.url)
      log.child({ req: request }).info('a child')
      log.error(new Error(`Something failed at ${request.url}`))
      log.error({ err: new Error('Something failed'), none: null, list: [1] }, 'as it is')
    })
  })
  const parts = [
    'a level of its own', 'which pino takes for a request', 'a child', `Something failed at ${PATH}`, 'as it is'
  ]
  for (const part of parts) t.match(text, part)
  t.notMatch(text, SECRET)
})

t.test('Fastify\'s log line about a second response contains no query', async (t) => {
  const { lines, write } = keepLines()
  const text = await logged(t, { logger: { stream: { write } } }, {
    lines,
    setup: (app) => app.addHook('onError', async (_request, reply) => { setImmediate(() => reply.send('late')) })
  })
  t.match(text, '403')
  while (!lines.join('').includes('FST_ERR_REP_ALREADY_SENT')) await new Promise(setImmediate)
  t.notMatch(lines.join(''), SECRET)
})

t.test('over HTTP/2, where the path is a header, no query is logged', async (t) => {
  const { lines, write } = keepLines()
  const app = Fastify({ http2: true, logger: { level: 'trace', stream: { write }, serializers } })
  t.teardown(() => app.close())
  await app.register(realtimePlugin, { authorize: () => false })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = http2.connect(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`)
  t.teardown(() => session.destroy())
  await once(session.request({ ':path': `${PATH}?ticket=${SECRET}` }), 'response')
  t.match(lines.join(''), PATH)
  t.notMatch(lines.join(''), SECRET)
})

t.test('the query of a stream of several chats is not logged', async (t) => {
  const { lines, write } = keepLines()
  const url = `/api/chats/events?chat=a&ticket=${SECRET}`
  const text = await logged(t, { logger: { stream: { write } } }, { lines, url })
  t.match(text, '/api/chats/events"')
  t.notMatch(text, SECRET)
})

t.test('a request without a query has the app\'s own logger for it', async (t) => {
  const { lines, write } = keepLines()
  const log = pino({}, { write }) as unknown as FastifyBaseLogger
  await logged(t, { childLoggerFactory: () => log }, {
    lines,
    url: PATH,
    setup: (app) => app.addHook('onRequest', async (request) => { t.equal(request.log, log) })
  })
})

t.test('a stream of the app\'s own route logs no query with the serializer from the guide', async (t) => {
  const { lines, write } = keepLines()
  const logSerializers = { req: ({ method, routeOptions }: FastifyRequest) => ({ method, url: routeOptions.url }) }
  const { app } = await startApp(t, { authorize: () => false }, {
    server: { logger: { stream: { write } } },
    setup: (app) => app.get('/my/:chatId', { logSerializers }, async (_request, reply) => { await reply.sse.chat('c') })
  })
  t.equal((await app.inject(`/my/chat?ticket=${SECRET}`)).statusCode, 403)
  t.match(lines.join(''), '"url":"/my/:chatId"')
  t.notMatch(lines.join(''), SECRET)
})
