import t, { type Test } from 'tap'
import net from 'node:net'
import { once } from 'node:events'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { AccessGrant, RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { turn } from '../../support/turn.ts'

/** An app in which `authorize` waits until the test lets all waiting calls return a value. */
async function gated (t: Test, options: RealtimeOptions, server: FastifyServerOptions = {}): Promise<{
  app: FastifyInstance, url: string, waiting: () => number, answer: (access: boolean | AccessGrant) => void
}> {
  let questions: ((access: boolean | AccessGrant) => void)[] = []
  const authorize = async (): Promise<boolean | AccessGrant> => {
    return await new Promise((resolve) => { questions.push(resolve) })
  }
  const answer = (access: boolean | AccessGrant): void => {
    for (const resolve of questions) resolve(access)
    questions = []
  }
  t.teardown(() => answer(false))
  return { ...await startApp(t, { ...options, authorize }, { server }), waiting: () => questions.length, answer }
}

for (const options of [{ maxConnections: 2 }, { maxConnectionsPerClient: 2 }]) {
  t.test(`requests that wait for authorize count against ${Object.keys(options).join()}`, async (t) => {
    const { url, waiting, answer } = await gated(t, options)
    const chat = `${url}/api/chats/c/events`
    const opening = [EventStream.open(t, chat), EventStream.open(t, chat)]
    while (waiting() < 2) await turn()
    t.equal((await fetch(chat)).status, 503)
    const shed = await EventStream.open(t, chat, { headers: { accept: 'text/event-stream' } })
    t.same(await shed.end(), [])
    t.equal(shed.retries.length, 1)
    t.equal(waiting(), 2, 'authorize was not called for those')
    answer(true)
    for (const stream of opening) t.match(await (await stream).next(), { event: 'ready' })
  })
}

t.test('a waiting request releases its share of the limits, however it ends', async (t) => {
  const { app, url, waiting, answer } = await gated(t, { maxConnections: 1, maxConnectionsPerClient: 1 })
  const chat = '/api/chats/c/events'
  const waits = async (): Promise<void> => { while (waiting() === 0) await turn() }

  const refused = fetch(`${url}${chat}`)
  await waits()
  answer(false)
  t.equal((await refused).status, 403)

  const invalid = fetch(`${url}${chat}?rewind=x`)
  await waits()
  answer(true)
  t.equal((await invalid).status, 400)

  const accepted = once(app.server, 'connection')
  const leaver = net.connect((app.server.address() as net.AddressInfo).port, '127.0.0.1')
  leaver.write(`GET ${chat} HTTP/1.1\r\nHost: x\r\n\r\n`)
  const [socket] = await accepted as [net.Socket]
  await waits()
  leaver.destroy()
  await once(socket, 'close')
  t.equal(waiting(), 1, 'authorize has still not answered')

  const injected = app.inject(chat)
  while (waiting() < 2) await turn()
  answer(false)
  t.equal((await injected).statusCode, 403)

  const stream = EventStream.open(t, `${url}${chat}`)
  await waits()
  answer({ userId: 'ada' })
  t.match(await (await stream).next(), { event: 'ready' })
  const other = EventStream.open(t, `${url}${chat}`)
  t.equal((await other).response.status, 503, 'the open stream counts once, not twice')
})

t.test('HEAD requests use the limits no longer than their response takes', async (t) => {
  const { url } = await startApp(t, { maxConnections: 1 }, {
    setup: (app) => app.get('/own', async (_request, reply) => { await reply.sse.send({ data: 1 }).catch(() => {}) })
  })
  t.equal((await fetch(`${url}/own`, { method: 'HEAD' })).status, 200)
  t.equal((await fetch(`${url}/own`, { method: 'HEAD' })).status, 200)
  t.match(await (await EventStream.open(t, `${url}/own`)).next(), { data: 1 })
})

t.test('users behind one address do not count as one client while they wait for authorize', async (t) => {
  const { url, waiting, answer } = await gated(t, { maxConnectionsPerClient: 1 })
  const chat = `${url}/api/chats/c/events`
  const first = EventStream.open(t, chat)
  while (waiting() === 0) await turn()
  answer({ userId: 'ada' })
  t.match(await (await first).next(), { event: 'ready' })
  const others = [EventStream.open(t, chat), EventStream.open(t, chat)]
  while (waiting() < 2) await turn()
  answer({ userId: 'bob' })
  const statuses = (await Promise.all(others)).map(({ response }) => response.status)
  t.same(statuses.sort(), [200, 503], 'each counts as its user from then on')
})

t.test('requests of one address that wait for authorize use at most half of maxConnections', async (t) => {
  const { url, waiting, answer } = await gated(t, { maxConnections: 5, maxConnectionsPerClient: 1 }, {
    trustProxy: true
  })
  const open = (address: string): Promise<EventStream> =>
    EventStream.open(t, `${url}/api/chats/c/events`, { headers: { 'x-forwarded-for': address } })
  const first = open('192.0.2.9')
  while (waiting() === 0) await turn()
  answer({ userId: 'ada' })
  t.match(await (await first).next(), { event: 'ready' })

  const crowd = ['2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8::4'].map(open)
  t.equal((await Promise.race(crowd)).response.status, 503)
  const other = open('192.0.2.1')
  while (waiting() < 4) await turn()
  answer(true)
  t.equal((await other).response.status, 200)
  t.same(
    (await Promise.all(crowd)).map(({ response: { status } }) => status).sort(),
    [200, 503, 503, 503],
    'as its streams it may have one'
  )
})
