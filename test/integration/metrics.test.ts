import t, { type Test } from 'tap'
import net from 'node:net'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Registry } from 'prom-client'
import { Metrics } from '../../lib/observability/metrics.ts'
import { metricNames } from '../../lib/observability/prometheus.ts'
import { startApp } from '../support/app.ts'
import { EventStream } from '../support/event-stream.ts'
import { client, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import type { RealtimeOptions } from '../../lib/index.ts'

type Values = Record<string, number>

/** The values of a registry: `name` or `name{label}`. */
async function read (registry: Registry): Promise<Values> {
  const text = await registry.metrics()
  const lines = [...text.matchAll(/^(\w+)(?:\{\w+="([^"]*)"\})? (\S+)$/gm)]
  return Object.fromEntries(lines.map(([, name, label, value]) => {
    return [label === undefined ? name : `${name}{${label}}`, Number(value)]
  }))
}

async function start (t: Test, options: RealtimeOptions = {}): Promise<{
  app: Awaited<ReturnType<typeof startApp>>['app']
  url: string
  registry: Registry
  values: () => Promise<Values>
}> {
  const registry = new Registry()
  return { ...await startApp(t, { ...options, metrics: registry }), registry, values: () => read(registry) }
}

t.test('the events of streams are counted', async (t) => {
  const { app, url, registry, values } = await start(t, {
    maxPayloadBytes: 1_000,
    maxConnections: 3,
    authorize: ({ headers: { cookie } }) => {
      if (cookie === 'broken') throw new Error('authorize has failed')
      return cookie !== 'none'
    }
  })
  const path = `${url}/api/chats/c/events`
  const streams = await Promise.all([EventStream.open(t, path), EventStream.open(t, path)])
  for (const stream of streams) await stream.next()
  for (let n = 0; n < 5; n++) await app.chatEvents.emitChatMessage('c', { n }, { idempotencyKey: `k${n % 4}` })
  await app.chatEvents.publish('c', { type: 'bot_action', action: {} }, { ephemeral: true })
  await t.rejects(app.chatEvents.emitChatMessage('c', { text: 'x'.repeat(2_000) }), { code: 'RT_PAYLOAD_TOO_LARGE' })
  for (const stream of streams) await stream.take(5)
  t.match(await values(), {
    pubsub_messages_published_total: 5,
    pubsub_messages_received_total: 5,
    'pubsub_duplicates_total{published}': 1,
    'pubsub_publish_failures_total{RT_PAYLOAD_TOO_LARGE}': 1,
    pubsub_messages_ignored_total: 0,
    realtime_streams_opened_total: 2,
    realtime_streams_open: 2,
    realtime_chats_followed: 1,
    'pubsub_subscriptions_active{channels}': 1,
    'pubsub_subscriptions_active{patterns}': 0,
    realtime_deliveries_total: 2 + 5 * 2,
    realtime_slow_clients_total: 0,
    realtime_buffered_bytes: 0,
    pubsub_publish_seconds_count: 6,
    realtime_publish_to_write_seconds_count: 5
  })
  const { realtime_delivered_bytes_total: bytes = 0 } = await values()
  t.ok(bytes > 1_000 && bytes < 4_000, `${bytes}`)

  const lost = await EventStream.open(t, path, { headers: { 'last-event-id': 'another-1-1' } })
  t.match(await lost.take(2), [{ event: 'ready' }, { event: 'reset' }])
  t.equal((await fetch(path)).status, 503)
  const shed = await EventStream.open(t, path, { headers: { accept: 'text/event-stream' } })
  await shed.end()
  const download = `${url}/api/chats/c/bot-messages/m`
  t.equal((await fetch(download, { headers: { cookie: 'none' } })).status, 403)
  t.equal((await fetch(download, { headers: { cookie: 'broken' } })).status, 500)
  t.equal((await fetch(download)).status, 404)
  t.match(await values(), {
    'realtime_resets_total{epoch}': 1,
    'realtime_streams_refused_total{RT_TOO_MANY_CONNECTIONS}': 2,
    'realtime_downloads_refused_total{RT_FORBIDDEN}': 1
  })
  for (const stream of [...streams, lost]) stream.close()
  while ((await values()).realtime_streams_open !== 0) await turn()

  const shown = (await registry.metrics()).match(/^# TYPE (\w+)/gm)?.map((line) => line.slice(7))
  // This app has no outbox.
  t.same(shown?.sort(), metricNames.filter((name) => !name.startsWith('realtime_outbox_')).sort())
  t.notMatch(await registry.metrics(), /"c"|chat:c/, 'no label names a chat')
  await app.close()
  t.same((await registry.getMetricsAsJSON()), [], 'nothing is left behind')
})

t.test('the states of Redis are counted', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const { app, url, values } = await start(t, { redisUrl: redis.url, publishTimeoutMs: 200 })
  await until(() => app.pubsub.isHealthy(), Boolean)
  const stream = await EventStream.open(t, `${url}/api/chats/c/events`)
  await stream.next()
  const { id } = await app.chatEvents.emitChatMessage('c', { n: 1 })
  await stream.next()
  const [epoch, , tag] = (id as string).split('-')
  await admin.publish('rt:{chat:c}', 'garbage')
  await admin.publish('rt:{chat:c}', `1 ${epoch} 1 ${tag} 0 d web 1 message {}`)
  while ((await values()).pubsub_messages_received_total !== 2) await turn()
  t.match(await values(), {
    'pubsub_redis_connected{publisher}': 1,
    'pubsub_redis_connected{subscriber}': 1,
    pubsub_messages_ignored_total: 1,
    'pubsub_duplicates_total{received}': 1
  })
  const { realtime_resyncs_total: before = 0 } = await values()
  t.ok(before > 0)
  await redis.kill()
  await t.rejects(app.chatEvents.emitChatMessage('c', { n: 2 }), { code: 'RT_PUBLISH_REJECTED' })
  t.match(await values(), {
    'pubsub_redis_connected{publisher}': 0,
    'pubsub_redis_connected{subscriber}': 0,
    'pubsub_publish_failures_total{RT_PUBLISH_REJECTED}': 1
  })
  await redis.restart()
  t.match(await stream.next(), { event: 'reset' })
  // Each connection is restored by itself.
  await until(() => app.pubsub.isHealthy(), Boolean)
  const after = await values()
  t.match(after, { 'realtime_resets_total{epoch}': 1, 'pubsub_redis_connected{publisher}': 1 })
  t.ok((after.realtime_resyncs_total as number) > before)
})

t.test('a client that does not keep up is counted, and so are its waiting bytes', async (t) => {
  const { app, url, values } = await start(t, { maxBufferedBytes: 10_000 })
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write('GET /api/chats/c/events HTTP/1.1\r\nhost: x\r\n\r\n')
  await once(socket, 'readable')
  let most = 0
  while ((await values()).realtime_slow_clients_total === 0) {
    await app.chatEvents.emitChatMessage('c', { text: 'x'.repeat(60_000) })
    await turn()
    most = Math.max(most, (await values()).realtime_buffered_bytes as number)
  }
  t.ok(most > 10_000)
  // The stream counts until its socket is closed.
  while ((await values()).realtime_streams_open !== 0) await turn()
  t.match(await values(), { realtime_slow_clients_total: 1, realtime_streams_open: 0, realtime_buffered_bytes: 0 })
})

t.test('an error without a code is counted, too', async (t) => {
  const metrics = new Metrics()
  metrics.fail(new Error('of a kind of its own'))
  t.same([...metrics.failures.counts], [['unknown', 1]])
})

t.test('a registry is required, and only one app can use it', async (t) => {
  await t.rejects(startApp(t, { metrics: {} as Registry }), { code: 'RT_OPTION_INVALID', message: /prom-client/ })
  const { registry } = await start(t)
  await t.rejects(startApp(t, { metrics: registry, instanceId: 'other' }), { message: /already been registered/ })
})
