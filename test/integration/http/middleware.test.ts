import t, { type Test } from 'tap'
import { createRequire } from 'node:module'
import type { IncomingMessage, ServerResponse } from 'node:http'
import middie from '@fastify/middie'
import type { FastifyInstance } from 'fastify'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'

type Middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void

// The package has no types.
const session = createRequire(import.meta.url)('express-session') as (options: object) => Middleware

/**
 * An app in which express-session stands in front of every route: it replaces `end` and `writeHead` of each response.
 */
async function startWithSessions (
  t: Test, options: RealtimeOptions = {}
): Promise<{ app: FastifyInstance, url: string }> {
  nothingUnhandled(t)
  return await startApp(t, options, {
    setup: async (app) => {
      await app.register(middie)
      app.use(session({ secret: 'a secret', resave: true, saveUninitialized: true }))
    }
  })
}

t.test('with express-session, a stream ends at its maximum age, and its client may reconnect', async (t) => {
  const { app, url } = await startWithSessions(t, { maxConnectionAgeMs: 100 })
  const stream = await EventStream.open(t, `${url}/api/chats/c/events`)
  t.match(stream.response.headers.get('set-cookie'), /^connect\.sid=/)
  t.match(await stream.next(), { event: 'ready' })
  await app.chatEvents.emitChatMessage('c', { n: 1 })
  t.match(await stream.end(), [{ data: { message: { n: 1 } } }])
  t.match(await (await EventStream.open(t, `${url}/api/chats/c/events`)).next(), { event: 'ready' })
})

t.test('with express-session, closing the app ends its streams', async (t) => {
  const { app, url } = await startWithSessions(t)
  const stream = await EventStream.open(t, `${url}/api/chats/c/events`)
  await stream.next()
  await app.close()
  t.same(await stream.end(), [])
  t.equal(stream.retries.length, 2, 'its client got a retry time')
})

t.test('with express-session, a stream beyond a limit gets a response', async (t) => {
  const { url } = await startWithSessions(t, { maxConnections: 1 })
  const stream = await EventStream.open(t, `${url}/api/chats/c/events`)
  await stream.next()
  const shed = await EventStream.open(t, `${url}/api/chats/c/events`, { headers: { accept: 'text/event-stream' } })
  t.same(await shed.end(), [])
  t.equal(shed.retries.length, 1)
})

t.test('if replaced methods of middleware throw, the client is cut and nothing of its stream is kept', async (t) => {
  nothingUnhandled(t)
  const { app, url } = await startApp(t, {
    maxRooms: 6, maxConnections: 1, presence: true, authorize: () => ({ userId: 'ada' })
  }, {
    setup: (app) => app.addHook('onRequest', async ({ headers, raw }, { raw: response }) => {
      if (headers.broken !== undefined) {
        Object.assign(response, { [headers.broken as string]: () => { throw new Error(raw.url) } })
      }
    })
  })
  for (const broken of ['writeHead', 'flushHeaders', 'removeHeader']) {
    for (const path of [`chats/${broken}/events`, `chats/events?chat=${broken}2`]) {
      await t.rejects(fetch(`${url}/api/${path}`, { headers: { broken } }), { message: 'fetch failed' }, path)
    }
    t.same(await app.chatEvents.presence(broken), [])
    const poll = fetch(`${url}/api/chats/${broken}/events`, { headers: { broken, accept: 'application/json' } })
    await t.rejects(poll, { message: 'fetch failed' }, 'a long poll')
  }
  // Other chats can have all rooms once the grace of the first ones is over.
  await until(async () => {
    const { status, body } = await fetch(`${url}/api/chats/events?chat=${[1, 2, 3, 4, 5, 6].join('&chat=')}`)
    if (status !== 200) await body?.cancel()
    return status
  }, (status) => status === 200)
})
