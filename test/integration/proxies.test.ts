import t, { type Test } from 'tap'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import { EventSource } from 'eventsource'
import { RedisPubSub } from '../../lib/index.ts'
import { Crowd } from '../faults/crowd.ts'
import { Random } from '../faults/random.ts'
import { judgeCrowd } from '../faults/verdict.ts'
import { EdgeProxy, skipWithoutProxies, type Kind } from '../support/edge-proxy.ts'
import { EventStream } from '../support/event-stream.ts'
import { freePort } from '../support/free-port.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { RedisServer } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import type { EventLog } from '../../lib/pubsub/event-log.ts'

// Processes start slowly on a busy machine.
t.setTimeout(300_000)

const RETRY_MS = 300
const HEARTBEAT_MS = 300
/** The proxy's idea of silence: longer than a heartbeat, shorter than the test is silent. */
const TIMEOUT_MS = 1_000
const SILENCE_MS = 3_000
const CHATS = ['a', 'b']
const CLIENTS = 20

/** Two instances over one Redis, and a function that starts one again at the address that the proxy uses. */
async function startPair (t: Test, redisUrl: string): Promise<{
  ports: [number, number]
  instances: InstanceProcess[]
  start: (index: number) => Promise<InstanceProcess>
}> {
  const ports: [number, number] = [await freePort(), await freePort()]
  const env = {
    REDIS_URL: redisUrl,
    TRUST_PROXY: '127.0.0.1',
    REALTIME: JSON.stringify({ heartbeatMs: HEARTBEAT_MS, retryMs: RETRY_MS })
  }
  const start = (index: number): Promise<InstanceProcess> => {
    return InstanceProcess.start(t, { ...env, PORT: `${ports[index]}` })
  }
  return { ports, start, instances: await Promise.all([start(0), start(1)]) }
}

async function localChats ({ url }: InstanceProcess): Promise<number> {
  const { chatSubscriptions } = await (await fetch(`${url}/api/health/pubsub`)).json() as {
    chatSubscriptions: { localChats: number }
  }
  return chatSubscriptions.localChats
}

for (const kind of ['nginx', 'haproxy'] satisfies Kind[]) {
  t.test(`behind ${kind}`, { skip: skipWithoutProxies }, async (t) => {
    const redis = await RedisServer.start()
    t.teardown(() => redis.stop())
    const { ports, instances, start } = await startPair(t, redis.url)
    const proxy = await EdgeProxy.start(t, kind, { ports, timeoutMs: TIMEOUT_MS })
    const path = (chatId: string): string => `${proxy.url}/api/chats/${chatId}/events`
    const [one] = instances as [InstanceProcess, InstanceProcess]

    await t.test('even a small event is delivered at once', async (t) => {
      const stream = await EventStream.open(t, path('tiny'))
      t.match(await stream.next(), { event: 'ready' })
      const latencies: number[] = []
      // Each is waited for before the next is sent, so none can push another one out.
      for (let n = 0; n < 20; n++) {
        const sent = performance.now()
        const [{ data }] = await Promise.all([stream.next(), one.post('tiny', { n })])
        latencies.push(Math.round(performance.now() - sent))
        t.match(data, { message: { n } })
      }
      const median = latencies.sort((a, b) => a - b)[10] as number
      t.ok(median < 100, `after ${median} ms`)
    })

    await t.test('over HTTP/2, too', async (t) => {
      const session = http2.connect(proxy.secureUrl, { rejectUnauthorized: false })
      t.teardown(() => session.destroy())
      const request = session.request({ ':path': '/api/chats/tiny/events' })
      let body = ''
      request.setEncoding('utf8').on('data', (chunk) => { body += chunk })
      const [headers] = await once(request, 'response')
      t.match(headers, { ':status': 200, 'content-type': 'text/event-stream' })
      while (!body.includes('event: ready')) await once(request, 'data')
      await one.post('tiny', { n: 'twice encoded' })
      while (!body.includes('twice encoded')) await once(request, 'data')
      request.close()
      await once(request, 'close')
    })

    await t.test('heartbeats keep a silent stream open, and a stream without them is cut', async (t) => {
      const stream = await EventStream.open(t, path('silent'))
      await stream.next()
      const opened = performance.now()
      while (performance.now() - opened < SILENCE_MS) await stream.comment()
      await one.post('silent', { n: 1 })
      t.match(await stream.next(), { data: { message: { n: 1 } } })

      const impatient = await EdgeProxy.start(t, kind, { ports, timeoutMs: HEARTBEAT_MS / 10 })
      const cut = await EventStream.open(t, `${impatient.url}/api/chats/silent/events`)
      t.match(await cut.end(), [{ event: 'ready' }])
    })

    await t.test('a client counts by its address, whatever its headers claim', async (t) => {
      const request = http.get(`${proxy.url}/ip`, {
        localAddress: '127.0.0.2', headers: { 'x-forwarded-for': '192.0.2.1' }
      })
      const [response] = await once(request, 'response') as [http.IncomingMessage]
      t.equal(String(await response.toArray()), '127.0.0.2')
    })

    await t.test('a disconnect is noticed', async (t) => {
      const streams = await Promise.all(['b', 'c', 'd', 'e'].map((chatId) => EventStream.open(t, path(chatId))))
      for (const stream of streams) await stream.next()
      for (const stream of streams) stream.close()
      for (const instance of instances) await until(() => localChats(instance), (chats) => chats === 0)
      t.pass('no chat is followed without a reader')
    })

    await t.test('the log of the proxy has no query', async (t) => {
      const stream = await EventStream.open(t, `${path('ticket')}?ticket=s3cret`)
      await stream.next()
      stream.close()
      await until(() => proxy.log(), (log) => log.includes('/api/chats/ticket/events'))
      t.notMatch(await proxy.log(), 's3cret')
    })

    await t.test('instances are drained in turn under load without a loss, a duplicate or a refusal', async (t) => {
      const random = new Random()
      t.comment(`SEED=${random.seed}`)
      const inTime = AbortSignal.timeout(100_000)
      const crowd = new Crowd(t, random, instances)
      const clients = await Promise.all(Array.from({ length: CLIENTS }, (_, n) => {
        return crowd.join(CHATS[n % CHATS.length] as string, inTime, proxy, { patient: true })
      }))
      const publishers = CHATS.map((chatId) => crowd.publishSteadily(chatId, chatId, 20))
      for (const index of [0, 1]) {
        const before = clients.reduce((streams, client) => streams + client.resumed, 0)
        const { code } = await (instances[index] as InstanceProcess).stop()
        t.equal(code, 0, 'an instance closes by itself')
        await Promise.all(CHATS.map((chatId) => crowd.publish(chatId, `after ${index}`, 1, 0)))
        await Promise.all(clients.map((client) => client.saw(`after ${index}`, 1, inTime)))
        const moved = clients.reduce((streams, client) => streams + client.resumed, 0) - before
        t.ok(moved > 0, `${moved} streams moved to the other one`)
        instances[index] = await start(index)
      }
      const last = await Promise.all(publishers.map((stop) => stop()))
      const reader = new RedisPubSub({ url: redis.url })
      t.teardown(() => reader.close())
      const { events, ...verdict } = await judgeCrowd(
        crowd, reader.eventLog as EventLog, new Map(CHATS.map((chatId, n) => [chatId, last[n] as number])), inTime
      )
      t.comment(JSON.stringify({ published: last, retries: crowd.retries, events, ...verdict }))
      t.same(verdict, {
        lost: 0, missed: 0, unreported: 0, astray: 0, notified: 0, losses: 0, duplicates: 0, disorders: 0, resets: {}
      })
      t.same(clients.flatMap(({ refusals, cut }) => [...refusals, cut]), clients.map(() => 0))
      for (const client of clients) client.close()
    })

    await t.test('while there is no instance, browsers are asked to retry', async (t) => {
      const source = new EventSource(path('a'))
      t.teardown(() => source.close())
      const seen: unknown[] = []
      source.addEventListener('ready', ({ data }) => seen.push(JSON.parse(data).resumed))
      await once(source, 'ready')
      const dropped = once(source, 'error')
      await Promise.all(instances.map((instance) => instance.stop()))
      await dropped
      const shed = await EventStream.open(t, path('a'))
      t.equal(shed.response.status, 200)
      t.same(await shed.end(), [])
      t.ok((shed.retries[0] as number) >= 2_000)
      t.ok((await fetch(`${proxy.url}/api/health/pubsub`)).status >= 500, 'nothing else is')
      const again = once(source, 'ready')
      instances[0] = await start(0)
      await again
      t.same(seen, [false, true])
    })
  })
}
