import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import realtimePlugin, { type RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { HeldAuthorize } from '../../support/held-authorize.ts'
import { EventStream } from '../../support/event-stream.ts'
import { keepLog } from '../../support/log.ts'
import { open, later } from './open.ts'

t.test('only clients with access to a chat get its stream, and only for them is the chat subscribed to', async (t) => {
  const asked: string[] = []
  const { app, url } = await startApp(t, {
    authorize: (request, chatId) => {
      asked.push(`${request.headers.authorization} ${chatId}`)
      return request.headers.authorization === 'Bearer ada' && chatId === 'c'
    }
  })
  const stream = await EventStream.open(t, `${url}/api/chats/c/events`, { headers: { authorization: 'Bearer ada' } })
  await stream.next()
  for (const response of [await open(url), await open(url, 'd', { authorization: 'Bearer ada' })]) {
    t.equal(response.status, 403)
    t.match(response.headers.get('content-type'), /json/)
    t.match(await response.json(), { code: 'RT_FORBIDDEN' })
  }
  t.same(asked, ['Bearer ada c', 'undefined c', 'Bearer ada d'])
  t.equal(app.chatEvents.stats().localChats, 1)
  t.equal((await open(url, encodeURIComponent('\0'.repeat(90)))).status, 403, 'any string may be the id of a chat')
})

t.test('an error that authorize throws becomes the response, like any error of a route', async (t) => {
  const { url } = await startApp(t, {
    authorize: (_request, chatId) => {
      if (chatId === 'sync') throw Object.assign(new Error('Sign in first'), { statusCode: 401 })
      return Promise.reject(new Error('The database is away'))
    }
  })
  const unauthorized = await open(url, 'sync')
  t.equal(unauthorized.status, 401)
  t.match(await unauthorized.json(), { message: 'Sign in first' })
  t.equal((await open(url)).status, 500)
})

/** Values that `authorize` may return, each with the client's response and the line that is logged once. */
const answers: Record<string, { answer: unknown, status: 200 | 403, mistake?: RegExp }> = {
  yes: { answer: true, status: 200 },
  user: { answer: { userId: 'ada' }, status: 200 },
  later: { answer: { expiresAt: later }, status: 200 },
  date: { answer: { expiresAt: new Date(later) }, status: 200 },
  never: { answer: { expiresAt: Infinity }, status: 200 },
  both: { answer: { userId: 'ada', expiresAt: later }, status: 200 },
  bare: { answer: Object.assign(Object.create(null), { userId: 'ada' }), status: 200 },
  no: { answer: false, status: 403 },
  nothing: { answer: undefined, status: 403 },
  null: { answer: null, status: 403 },
  past: { answer: { expiresAt: Date.now() - 1 }, status: 403 },
  longAgo: { answer: { expiresAt: -Infinity }, status: 403 },
  text: { answer: 's3cret', status: 403, mistake: /returned string/ },
  number: { answer: 1, status: 403, mistake: /returned number/ },
  array: { answer: [], status: 403, mistake: /returned an array/ },
  rows: { answer: [{ userId: 'ada' }], status: 403, mistake: /returned an array/ },
  function: { answer: () => true, status: 403, mistake: /returned function/ },
  empty: { answer: {}, status: 403, mistake: /returned an empty object/ },
  denied: { answer: { allowed: false }, status: 403, mistake: /with the field allowed/ },
  query: { answer: { rows: [] }, status: 403, mistake: /with the field rows/ },
  typo: { answer: { userID: 'ada', expires: 0 }, status: 403, mistake: /with the field userID/ },
  denial: { answer: { userId: 'ada', allowed: false }, status: 403, mistake: /with the field allowed/ },
  secret: { answer: { s3cret: 1 }, status: 403, mistake: /with another field/ },
  symbol: { answer: { userId: 'ada', [Symbol('s3cret')]: 1 }, status: 403, mistake: /with another field/ },
  hidden: {
    answer: Object.defineProperty({ userId: 'ada' }, 'denied', { value: true }),
    status: 403,
    mistake: /with the field denied/
  },
  inherited: { answer: Object.create({ userId: 'ada' }), status: 403, mistake: /an object that is not plain/ },
  row: { answer: new (class Row { userId = 'ada' })(), status: 403, mistake: /an object that is not plain/ },
  error: {
    answer: Object.assign(new Error('s3cret'), { userId: 'ada' }), status: 403, mistake: /an object that is not plain/
  },
  elsewhere: { answer: runInNewContext('({ userId: "ada" })'), status: 403, mistake: /an object that is not plain/ },
  nobody: { answer: { userId: undefined }, status: 403, mistake: /a userId that is undefined/ },
  guest: { answer: { userId: undefined, expiresAt: later }, status: 403, mistake: /a userId that is undefined/ },
  anonymous: { answer: { userId: null, expiresAt: later }, status: 403, mistake: /a userId that is null/ },
  unnamed: { answer: { userId: '' }, status: 403, mistake: /a userId that is an empty, long or ill-formed string/ },
  long: {
    answer: { userId: 's3cret'.repeat(43) },
    status: 403,
    mistake: /a userId that is an empty, long or ill-formed string/
  },
  surrogate: {
    answer: { userId: '\ud800' }, status: 403, mistake: /a userId that is an empty, long or ill-formed string/
  },
  user17: { answer: { userId: 17 }, status: 403, mistake: /a userId that is number/ },
  endless: { answer: { userId: 'ada', expiresAt: undefined }, status: 403, mistake: /an expiresAt that is undefined/ },
  nan: { answer: { userId: 'ada', expiresAt: NaN }, status: 403, mistake: /an expiresAt that is NaN/ },
  noDate: { answer: { expiresAt: new Date('s3cret') }, status: 403, mistake: /an expiresAt that is NaN/ },
  words: { answer: { expiresAt: '2999-01-01' }, status: 403, mistake: /an expiresAt that is string/ }
}

for (const [name, { answer, status, mistake }] of Object.entries(answers)) {
  t.test(`an authorize that returns "${name}" ${status === 200 ? 'opens the chat' : 'refuses'}`, async (t) => {
    const { log, lines, text } = keepLog()
    const app = Fastify({ loggerInstance: log as FastifyBaseLogger })
    t.teardown(() => app.close())
    await app.register(realtimePlugin, { authorize: () => answer as boolean })
    for (let time = 0; time < 2; time++) {
      const response = await app.inject({ url: '/api/chats/c/events', payloadAsStream: true })
      t.equal(response.statusCode, status)
      response.stream().destroy()
    }
    const mistakes = lines.filter(({ code }) => code === 'RT_GRANT_INVALID').map(({ msg }) => msg)
    t.equal(mistakes.length, mistake === undefined ? 0 : 1, 'logged once')
    for (const msg of mistakes) {
      t.match(msg, mistake)
      t.match(msg, 'Return true, false, or a plain object with userId')
    }
    t.notMatch(text(), 's3cret')
  })
}

t.test('each kind of mistake is logged once, whatever the fields are called', async (t) => {
  const { log, lines } = keepLog()
  const app = Fastify({ loggerInstance: log as FastifyBaseLogger })
  t.teardown(() => app.close())
  await app.register(realtimePlugin, {
    authorize: (_request, chatId) => (chatId.length === 1 ? { [chatId]: true } : {}) as never
  })
  for (const chatId of ['a', 'b', 'none', '1', 'a', 'none']) {
    t.equal((await app.inject(`/api/chats/${chatId}/events`)).statusCode, 403)
  }
  t.equal(lines.filter(({ code }) => code === 'RT_GRANT_INVALID').length, 2)
})

t.test('a client that is refused learns nothing about the code of the app', async (t) => {
  const { url } = await startApp(t, { authorize: () => false })
  t.same(await (await open(url)).json(), {
    statusCode: 403, code: 'RT_FORBIDDEN', error: 'Forbidden', message: 'Access to this chat was refused.'
  })
})

t.test('a client that disconnects during authorize leaves nothing behind', async (t) => {
  const held = new HeldAuthorize()
  const { app, url } = await startApp(t, { authorize: held.authorize })
  const called = held.nextCall()
  const abort = new AbortController()
  const opening = fetch(`${url}/api/chats/c/events`, { signal: abort.signal }).catch(() => {})
  await called
  abort.abort()
  await opening
  while (await new Promise((resolve) => { app.server.getConnections((_error, count) => resolve(count)) }) !== 0) {
    await delay(5)
  }
  held.resolve(true)
  await new Promise(setImmediate)
  t.equal(app.chatEvents.stats().localChats, 0)
})

t.test('a reply that was sent during authorize does not become a stream', async (t) => {
  const errors: unknown[] = []
  const { url } = await startApp(t, { authorize: () => delay(20, true) }, {
    setup: (app) => {
      app.get('/hasty', (_request, reply) => {
        reply.sse.chat('c').catch((error) => { errors.push(error.code) })
        reply.sse.chat('c').catch((error) => { errors.push(error.code) })
        reply.send('done')
      })
    }
  })
  t.equal(await (await fetch(`${url}/hasty`)).text(), 'done')
  await delay(40)
  t.same(errors, ['RT_STREAM_STARTED', 'RT_STREAM_STARTED'])
})

t.test('in production, an app without authorize logs that anyone can open any chat', async (t) => {
  const before = process.env.NODE_ENV
  t.teardown(() => {
    if (before === undefined) delete process.env.NODE_ENV
    else process.env.NODE_ENV = before
  })
  const warnings = async (env: string, options: RealtimeOptions): Promise<number> => {
    process.env.NODE_ENV = env
    const { log, lines } = keepLog()
    const app = Fastify({ loggerInstance: log as FastifyBaseLogger })
    await app.register(realtimePlugin, options)
    await app.close()
    return lines.filter((line) => /authorize/.test(JSON.stringify(line))).length
  }
  t.equal(await warnings('production', {}), 1)
  t.equal(await warnings('production', { authorize: () => true }), 0)
  t.equal(await warnings('test', {}), 0)
})
