import t, { type Test } from 'tap'
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { startApp } from '../../support/app.ts'
import { LoadBalancer } from '../../support/load-balancer.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { until } from '../../support/until.ts'
import { range } from '../../support/numbers.ts'
import { Page, Seen, publish, dropAll, settle, startServer } from './page.ts'

t.setTimeout(120_000)

/** Returns the times of a client's first attempts at a server whose streams end after `retry`. */
async function attempts (t: Test, retryMs: number, count: number): Promise<number[]> {
  const times: number[] = []
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (_request, reply) => {
    times.push(performance.now())
    return await reply.type('text/event-stream').send(`retry: ${retryMs}\n\n`)
  }))
  const page = new Page(t, url)
  page.open('a')
  await until(async () => times.length, (length) => length >= count)
  page.client.close()
  return times
}

t.test('a page misses nothing after a drop, with one chat and with several', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 1 })
  for (const chats of [['a'], ['b', 'c', 'd']]) {
    const page = new Page(t, url)
    const seen = chats.map((id) => page.open(id))
    await page.is('open')
    for (const each of seen) await each.ready()
    for (let n = 1; n <= 40; n++) {
      for (const id of chats) await publish(app, id, n)
      if (n % 10 === 5) dropAll(app)
    }
    for (const each of seen) {
      await each.has(40)
      t.same([each.numbers, each.resets], [range(1, 40), []])
    }
    page.client.close()
  }
})

t.test('a loss is reported by a reset, even if the connection breaks before the reset arrives', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 1, history: { size: 2 } })
  const [id] = await publish(app, 'a', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
  const page = new Page(t, url)
  const seen = page.open('a', { after: id })
  await until(async () => seen.resets.length, (length) => length === 1)
  t.match(seen.resets, [{ reason: 'trimmed', certain: true }])
  await publish(app, 'a', 11)
  await seen.has(1)
  t.same(seen.numbers, [11])
  const invalid = page.open('b', { after: 'garbage' })
  await until(async () => invalid.resets.length, (length) => length === 1)
  t.match(invalid.resets, [{ reason: 'invalid' }])
  t.equal(seen.resets.length, 1)
})

t.test('behind a load balancer, a client continues at another instance', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const balancer = await LoadBalancer.start(t)
  const start = async (instanceId: string): Promise<FastifyInstance> => {
    const { app, url } = await startApp(t, { redisUrl: redis.url, instanceId, retryMs: 1 })
    balancer.add(url)
    return app
  }
  const apps = [await start('i0'), await start('i1')]
  const page = new Page(t, balancer.url)
  const seen = ['a', 'b'].map((id) => page.open(id))
  for (const each of seen) await each.ready()
  for (let n = 1; n <= 60; n++) {
    const app = apps.at(-1) as FastifyInstance
    await Promise.all(['a', 'b'].map((id) => publish(app, id, n)))
    if (n % 20 === 10) {
      apps.push(await start(`i${apps.length}`))
      await apps.shift()?.close()
    }
  }
  for (const each of seen) {
    await each.has(60)
    t.same([each.numbers, each.resets], [range(1, 60), []])
  }
})

t.test('a server without history sends a reset after each drop', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 1, history: false })
  const page = new Page(t, url)
  const seen = page.open('a', { rewind: 5 })
  const second = (): Seen => page.open('a', { rewind: 5 })
  await page.is('open')
  const late = second()
  await publish(app, 'a', 1)
  await seen.has(1)
  await late.has(1)
  dropAll(app)
  await until(async () => seen.resets.length, (length) => length > 0)
  t.same(seen.resets, [{ reason: 'no-history', certain: false }])
  t.same([seen.ids, seen.chat.lastEventId], [[undefined], undefined])
})

t.test('a client retries a busy or broken server after the time that the server names', async (t) => {
  const asked: number[] = []
  const answers = [204, 503, 500, 429, 200]
  const { app, url } = await startApp(t, { retryMs: 1 }, {
    setup: (app) => app.addHook('onRequest', async (request, reply) => {
      if (!request.url.includes('/events')) return
      asked.push(performance.now())
      const status = answers.shift() as number
      // So that the client need not wait for as long as it does by itself.
      if (status === 204) return await reply.type('text/event-stream').send('retry: 1\n\n')
      if (status !== 200) return await reply.code(status).header('retry-after', status === 429 ? '1' : 'soon').send({})
    })
  })
  const page = new Page(t, url)
  const seen = page.open('a')
  await seen.ready()
  t.equal(asked.length, 5)
  t.ok((asked[4] as number) - (asked[3] as number) >= 990)
  t.same(page.refusals, [])
  await publish(app, 'a', 1)
  await seen.has(1)
})

t.test('a stream that ends at once sets the time until the reconnect', async (t) => {
  const asked = await attempts(t, 150, 3)
  const [first = 0, second = 0, third = 0] = asked
  t.ok(second - first >= 145)
  t.ok(third - second >= 290, 'and later each time')
})

t.test('a connection without any data is replaced', async (t) => {
  const { app, url } = await startApp(t, { heartbeatMs: 0, retryMs: 1 })
  const page = new Page(t, url, { silenceMs: 300 })
  const seen = page.open('a')
  await seen.ready()
  settle(t)
  await publish(app, 'a', 1)
  await until(async () => page.states.length, (length) => length >= 4)
  t.same(page.states.slice(0, 4), ['connecting', 'open', 'connecting', 'open'])
  await publish(app, 'a', 2)
  await seen.has(2)
  t.same([seen.numbers, seen.resets], [[1, 2], []])
})

t.test('a heartbeat keeps a connection', async (t) => {
  const { url } = await startApp(t, { heartbeatMs: 100 })
  const silenceMs = 60_000
  const { setTimeout } = globalThis
  t.teardown(() => { globalThis.setTimeout = setTimeout })
  let begun = 0
  globalThis.setTimeout = Object.assign((handler: () => void, ms?: number) => {
    if (ms === silenceMs) begun++
    return setTimeout(handler, ms)
  }, setTimeout)
  const page = new Page(t, url, { silenceMs })
  await page.open('a').ready()
  const before = begun
  await until(async () => begun, (now) => now >= before + 3)
  t.same(page.states, ['connecting', 'open'])
})

t.test('clients of a server with an immediate retry still wait longer each time', async (t) => {
  const asked = await attempts(t, 0, 9)
  t.ok((asked[8] as number) - (asked[7] as number) >= 120)
})

t.test('a retry time of any length works', async (t) => {
  let asked = 0
  const url = await startServer(t, (app) => app.get('/api/chats/:chatId/events', async (request, reply) => {
    if ((request.params as { chatId: string }).chatId === 'a') {
      asked++
      return await reply.code(503).header('retry-after', '3000000').send({})
    }
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write('id: e-0-0\nevent: ready\ndata: {}\n\n')
    await once(reply.raw, 'close')
  }))
  new Page(t, url).open('a')
  await until(async () => asked, (count) => count === 1)
  const patient = new Page(t, url, { silenceMs: Infinity })
  await patient.open('b').ready()
  t.same([asked, patient.states], [1, ['connecting', 'open']])
})
