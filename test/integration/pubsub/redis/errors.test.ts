import t, { type Test } from 'tap'
import { once } from 'node:events'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Cluster, Redis } from 'ioredis'
import { RedisPubSub } from '../../../../lib/index.ts'
import { freePort } from '../../../support/free-port.ts'
import { InstanceProcess } from '../../../support/instance-process.ts'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import type { RedisServer } from '../../../support/redis-server.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'
import type { EventLog } from '../../../../lib/pubsub/event-log.ts'

async function start (t: Test, args: string[] = []): Promise<{ redis: RedisServer, admin: Redis }> {
  const redis = await startRedis(t, args)
  return { redis, admin: client(t, redis.url) }
}

/** The entries of the log of `c`. */
async function logged (pubsub: { eventLog: EventLog }): Promise<unknown[]> {
  return (await pubsub.eventLog.read('c', undefined, 100)).entries.map(({ json, position }) => {
    return position.isMarker ? 'marker' : JSON.parse(json.toString())
  })
}

/**
 * Publishes while Redis refuses, in an existing log and in a new one; then, after `heal`, checks that the log has no
 * gap, except for a marker if there was another primary meanwhile.
 */
async function refuses (
  t: Test, pubsub: RedisPubSub & { eventLog: EventLog }, reason: RegExp, heal: () => unknown, marker: string[] = []
): Promise<void> {
  for (const channel of ['c', 'new']) {
    await t.rejects(pubsub.publish(channel, 'refused', { idempotencyKey: 'refused' }), {
      code: 'RT_PUBLISH_REJECTED', statusCode: 503, message: reason
    })
  }
  await heal()
  t.match(await pubsub.publish('c', 2), { id: `-${2 + marker.length}-` })
  t.match(await pubsub.publish('c', 'refused', { idempotencyKey: 'refused' }), {
    id: `-${3 + marker.length}-`, duplicate: false
  })
  t.match(await pubsub.publish('new', 1), { id: /-1-\d+$/ })
  t.same(await logged(pubsub), [1, ...marker, 2, 'refused'])
}

t.beforeEach(nothingUnhandled)

t.test('OOM: a publish without memory is rejected, even the first in its log', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 1)
  await admin.config('SET', 'maxmemory', '1')
  await refuses(t, pubsub, /OOM/, () => admin.config('SET', 'maxmemory', '0'))
})

t.test('READONLY: a publish to a demoted primary is rejected, and a new connection finds the new one', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 1)
  const before = Number((await admin.info('stats')).match(/total_connections_received:(\d+)/)?.[1])
  await admin.replicaof('127.0.0.1', await freePort())
  await refuses(t, pubsub, /READONLY/, () => admin.replicaof('NO', 'ONE'), ['marker'])
  t.ok(Number((await admin.info('stats')).match(/total_connections_received:(\d+)/)?.[1]) > before)
})

t.test('BUSY: a publish during an endless script of another client is rejected', async (t) => {
  const { redis, admin } = await start(t, ['--lua-time-limit', '5'])
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 1)
  const endless = t.rejects(client(t, redis.url, { maxRetriesPerRequest: 0 }).eval('while true do end', 0))
  // It runs for longer than the limit.
  await until(() => admin.get('x').then(() => false, () => true), Boolean)
  await refuses(t, pubsub, /BUSY/, async () => {
    await admin.script('KILL')
    await endless
  })
})

t.test('MISCONF: a publish to a Redis that can\'t save is rejected', async (t) => {
  const { redis, admin } = await start(t, ['--save', '3600 1000000'])
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 1)
  const [, dir] = await admin.config('GET', 'dir') as [string, string]
  const save = async (status: string): Promise<void> => {
    await admin.bgsave()
    await until(() => admin.info('persistence'), (info) => info.includes(`rdb_last_bgsave_status:${status}`))
  }
  // At the path of the file is something that Redis can't replace.
  await mkdir(join(dir, 'dump.rdb', 'full'), { recursive: true })
  await save('err')
  await refuses(t, pubsub, /MISCONF/, async () => {
    await rm(join(dir, 'dump.rdb'), { recursive: true })
    await save('ok')
  })
})

t.test('LOADING: a publish to a Redis that is loading its data is rejected on an existing connection', async (t) => {
  const { redis, admin } = await start(t, [
    '--enable-debug-command', 'yes', '--loading-process-events-interval-bytes', '1024'
  ])
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 1)
  await admin.call('DEBUG', 'POPULATE', '400', 'key', '2048')
  // In microseconds for each key.
  await admin.config('SET', 'key-load-delay', '5000')
  const reload = admin.call('DEBUG', 'RELOAD')
  const watch = client(t, redis.url, { enableReadyCheck: false })
  const asked = (): Promise<string> => watch.get('x').then(String, ({ message }: Error) => message)
  await until(asked, (answer) => answer.startsWith('LOADING'))
  await refuses(t, pubsub, /LOADING/, () => reload)
})

t.test('LOADING: a publish during the start of Redis waits until the data is loaded', async (t) => {
  const { redis, admin } = await start(t, [
    '--enable-debug-command', 'yes', '--appendonly', 'yes', '--appendfsync', 'always', '--key-load-delay', '1000'
  ])
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 20_000 })
  await pubsub.publish('c', 1)
  await admin.call('DEBUG', 'POPULATE', '300', 'key', '2048')
  await admin.bgrewriteaof()
  await redis.kill()
  const published = [2, 3].map((n) => pubsub.publish('c', n))
  await redis.restart()
  await Promise.all(published)
  t.same(await logged(pubsub), [1, 'marker', 2, 3])
})

t.test('events of a user without the right to broadcast are in the log, and an error names the cause', async (t) => {
  const { redis, admin } = await start(t)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>hunter2', 'allchannels', '~rt:*', '+@all', '-publish')
  const { log, lines, text } = keepLog()
  const pubsub = open(t, { url: redis.url.replace('//', '//app:hunter2@'), log })
  const got: unknown[] = []
  pubsub.subscribeExact('c', ({ data }) => { got.push(data) })
  await live(pubsub)
  t.match(await pubsub.publish('c', 1), { id: /-1-\d+$/, duplicate: false })
  t.match(lines.find(({ msg }) => msg.startsWith('Redis refuses to broadcast')), {
    level: 50, reason: /can't run this command|NOPERM/
  })
  await admin.call('ACL', 'SETUSER', 'app', '+publish')
  await pubsub.publish('c', 2)
  await live(pubsub)
  t.same([got, await logged(pubsub)], [[2], [1, 2]])
  t.notMatch(text(), 'hunter2')
})

t.test('a log that may not be read rejects with the reason', async (t) => {
  const { redis, admin } = await start(t)
  await admin.call(
    'ACL', 'SETUSER', 'app', 'on', '>hunter2', 'allchannels', '~rt:*', '+@all', '-eval', '-evalsha', '-hmget'
  )
  const pubsub = open(t, { url: redis.url.replace('//', '//app:hunter2@') })
  await t.rejects(pubsub.eventLog.read('c', undefined, 1), {
    code: 'RT_LOG_UNAVAILABLE', statusCode: 503, message: /NOPERM/
  })
  await t.rejects(pubsub.eventLog.heads(['c']), { code: 'RT_LOG_UNAVAILABLE', message: /NOPERM/ })
})

t.test('a Redis Cluster keeps a log, each channel in one slot', async (t) => {
  const { redis, admin } = await start(t, ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'])
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until(() => admin.call('CLUSTER', 'INFO'), (info) => String(info).includes('cluster_state:ok'))
  const cluster = new Cluster([{ host: '127.0.0.1', port: redis.port }])
  t.teardown(() => cluster.disconnect())
  await once(cluster, 'ready')
  const pubsub = open(t, { client: cluster })
  const channels = ['c', ...Array.from({ length: 50 }, (_, n) => `c${n}`)]
  const receipts = channels.flatMap((channel) => {
    return [1, 2, 3].map((n) => pubsub.publish(channel, n, { idempotencyKey: `${n}` }))
  })
  for (const [index, { id }] of (await Promise.all(receipts)).entries()) t.match(id, `-${index % 3 + 1}-`)
  t.match(await pubsub.publish('c', 1, { idempotencyKey: '1' }), { duplicate: true })
  t.same(await logged(pubsub), [1, 2, 3])
  t.same((await pubsub.eventLog.heads(channels)).map((top) => top?.offset), channels.map(() => 3))
})

t.test('over TLS with a trusted certificate', async (t) => {
  const tls = (name: string): string => new URL(`../../../support/tls/${name}.pem`, import.meta.url).pathname
  const port = await freePort()
  await start(t, [
    '--tls-port', `${port}`, '--tls-cert-file', tls('cert'), '--tls-key-file', tls('key'), '--tls-auth-clients', 'no'
  ])
  const url = `rediss://localhost:${port}`
  const pubsub = open(t, { client: client(t, url, { tls: { ca: await readFile(tls('cert')) } }) })
  const message = new Promise((resolve) => { pubsub.subscribeExact('c', ({ data }) => resolve(data)) })
  await live(pubsub)
  await pubsub.publish('c', 1)
  t.equal(await message, 1)
  t.same(await logged(pubsub), [1])
  const instance = await InstanceProcess.start(t, { REDIS_URL: url, NODE_EXTRA_CA_CERTS: tls('cert') })
  t.equal((await instance.post('c', { by: 'an instance that was given the URL' })).status, 202)
  const { log, line } = keepLog()
  const distrustful = open(t, { url, log, publishTimeoutMs: 200 })
  t.match(await line('Redis is out of reach, trying again'), { reason: /SELF_SIGNED/ })
  await t.rejects(distrustful.publish('c', 2), { code: 'RT_PUBLISH_REJECTED' })
})
