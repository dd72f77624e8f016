import t, { type Test } from 'tap'
import { once } from 'node:events'
import net from 'node:net'
import type { Cursor } from '../../../../lib/pubsub/cursor.ts'
import type { Redis } from 'ioredis'
import { RedisPubSub, type PubSubMessage } from '../../../../lib/index.ts'
import { freePort } from '../../../support/free-port.ts'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { RedisServer } from '../../../support/redis-server.ts'
import { until } from '../../../support/until.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import type { EventLog } from '../../../../lib/pubsub/event-log.ts'

/** What a Redis user needs for the log, and for the rest. The docs list the same. */
const LOG_RIGHTS = ['+eval', '+evalsha', '~rt:*', '+get', '+set', '+exists', '+del', '+hmget', '+hset', '+xadd', '+xrange', '+xrevrange', '+pexpire']
const STATE_RIGHTS = ['+time', '+hget', '+hgetall', '+hdel', '+zadd', '+zrangebyscore', '+zrem']
const PUBSUB_RIGHTS = ['+ping', '+info', '+publish', '+subscribe', '+unsubscribe', '+psubscribe', '+punsubscribe']

/** A way to Redis that a test can break. */
async function openProxy (t: Test, to: number, port: number): Promise<{ url: string, sockets: Set<net.Socket> }> {
  const sockets = new Set<net.Socket>()
  const proxy = net.createServer((socket) => {
    sockets.add(socket)
    const upstream = net.connect(to, '127.0.0.1')
    socket.on('error', () => {}).on('close', () => sockets.delete(socket)).pipe(upstream.on('error', () => {})).pipe(socket)
  }).listen(port, '127.0.0.1')
  t.teardown(() => proxy.close())
  await once(proxy, 'listening')
  return { url: `redis://127.0.0.1:${port}`, sockets }
}

/** The next message on a channel. */
function next (pubsub: RedisPubSub, channel: string): Promise<PubSubMessage> {
  return new Promise((resolve) => {
    const unsubscribe = pubsub.subscribeExact(channel, (message) => { unsubscribe(); resolve(message) })
  })
}

t.beforeEach(nothingUnhandled)

t.test('each instance has a name of its own', async (t) => {
  const redis = await startRedis(t)
  const ids = Array.from({ length: 20 }, () => open(t, { url: redis.url }).instanceId)
  t.equal(new Set(ids).size, 20)
  t.match(ids[0], new RegExp(`^redis-${process.pid}-\\d+-[0-9a-f]{6}$`))
  const named = open(t, { url: redis.url, instanceId: 'web-1' })
  const message = next(named, 'c')
  await live(named)
  await named.publish('c', 1)
  t.equal((await message).from, 'web-1')
})

t.test('what is published is logged, without what it says', async (t) => {
  const redis = await startRedis(t)
  const { log, lines, text } = keepLog()
  const pubsub = open(t, { url: redis.url, log })
  await pubsub.publish('chat:123', { text: 'hunter2' })
  t.match(lines.find(({ msg }) => msg === 'Published message to Redis'), { level: 20, channel: 'chat:123' })
  t.notMatch(text(), 'hunter2')
})

t.test('a channel is subscribed to once however many want it, and given up with the last', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const admin = client(t, redis.url)
  const unsubscribe = [1, 2, 3].map(() => pubsub.subscribeExact('c', () => {}))
  const undoPattern = [1, 2].map(() => pubsub.subscribe('c*', () => {}))
  await live(pubsub)
  t.same(await admin.pubsub('CHANNELS', 'rt:{c}'), ['rt:{c}'])
  t.equal(await admin.pubsub('NUMPAT'), 1)
  t.equal((await admin.info('commandstats')).match(/cmdstat_subscribe:calls=(\d+)/)?.[1], '1', 'with the probe, in one command')
  for (const stop of [...unsubscribe.slice(1), ...undoPattern.slice(1)]) stop()
  await live(pubsub)
  t.same(await admin.pubsub('CHANNELS', 'rt:{c}'), ['rt:{c}'])
  unsubscribe[0]?.()
  unsubscribe[0]?.()
  undoPattern[0]?.()
  await live(pubsub)
  // The probe's own channel is given up right after it was confirmed; what is subscribed next is confirmed after that.
  await live(pubsub)
  t.same(await admin.pubsub('CHANNELS', 'rt:{c}'), [])
  t.equal(await admin.pubsub('NUMPAT'), 0)
})

t.test('many channels are subscribed to in few commands', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const admin = client(t, redis.url)
  for (let n = 0; n < 2_000; n++) pubsub.subscribeExact(`c${n}`, () => {})
  await live(pubsub)
  t.equal((await admin.pubsub('CHANNELS', 'rt:{c*}') as string[]).length, 2_000)
  const calls = Number((await admin.info('commandstats')).match(/cmdstat_subscribe:calls=(\d+)/)?.[1])
  t.ok(calls <= 6, `${calls} SUBSCRIBE commands`)
})

t.test('a channel that is given up and wanted again at once stays live', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  pubsub.subscribeExact('c', () => {})()
  const message = next(pubsub, 'c')
  await live(pubsub)
  for (let n = 0; n < 50; n++) {
    pubsub.subscribeExact('c', () => {})()
    await new Promise(setImmediate)
  }
  const again = pubsub.subscribeExact('d', () => {})
  await live(pubsub)
  again()
  const d = next(pubsub, 'd')
  await live(pubsub)
  await pubsub.publish('c', 1)
  await pubsub.publish('d', 2)
  t.match(await message, { data: 1 })
  t.match(await d, { data: 2 })
})

t.test('without Redis at the start it says so, and works once Redis is there', async (t) => {
  const port = await freePort()
  const { log, lines, line } = keepLog()
  const redisUrl = `redis://:hunter2@127.0.0.1:${port}`
  const pubsub = open(t, { url: redisUrl, log })
  t.match(await line('Redis is out of reach, trying again'), { level: 40, reason: 'ECONNREFUSED' })
  t.equal(await pubsub.isHealthy(), false)
  const message = next(pubsub, 'c')
  const published = pubsub.publish('c', { n: 1 })
  await t.rejects(pubsub.publish('c', 0, { ephemeral: true }), { code: 'RT_PUBLISH_REJECTED', statusCode: 503 })
  t.match(await message, { data: 0 }, 'an ephemeral message reaches this instance all the same')
  // Several tries to connect later.
  await t.rejects(open(t, { url: redisUrl, publishTimeoutMs: 500 }).publish('c', 0), { code: 'RT_PUBLISH_REJECTED' })
  const redis = await RedisServer.start({ port, args: ['--requirepass', 'hunter2'] })
  t.teardown(() => redis.stop())
  t.match(await published, { id: /-1-/, duplicate: false }, 'what waited for Redis was published')
  await line('Redis is back')
  await live(pubsub)
  t.equal(await pubsub.isHealthy(), true)
  t.equal(lines.filter(({ msg }) => msg === 'Redis is out of reach, trying again').length, 2, 'told once for each connection, not for each try')
})

t.test('after Redis was killed and is back, subscriptions hold again', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const seen: string[] = []
  const went = new Promise<void>((resolve) => {
    pubsub.follow('c', { live () { seen.push('live') }, lost () { seen.push('lost'); resolve() }, receive () { seen.push('message') } })
  })
  const patterns: unknown[] = []
  pubsub.subscribe('?', ({ data }) => { patterns.push(data) })
  await live(pubsub)
  // The probe's channel is given up before Redis answers this.
  await new Promise(setImmediate)
  await pubsub.isHealthy()
  await redis.freeze()
  // Asked for, and never confirmed before the connection breaks.
  pubsub.subscribeExact('d', ({ data }) => { seen.push(data as string) })
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate)
  await redis.kill()
  await went
  t.equal(await pubsub.isHealthy(), false)
  await redis.restart()
  await live(pubsub)
  await pubsub.publish('c', 1)
  await pubsub.publish('d', 'unconfirmed')
  await live(pubsub)
  t.same(seen, ['live', 'lost', 'live', 'message', 'unconfirmed'])
  t.same(patterns, [1, 'unconfirmed'])
})

t.test('what waits for Redis is published in order, before anything later', async (t) => {
  const redis = await startRedis(t)
  const port = await freePort()
  const pubsub = open(t, { url: `redis://127.0.0.1:${port}` })
  const other = open(t, { url: redis.url })
  const got: unknown[] = []
  const all = new Promise<void>((resolve) => {
    other.subscribeExact('c', ({ data }) => { if (got.push(data) === 200) resolve() })
  })
  await live(other)
  const waiting = Array.from({ length: 100 }, (_, n) => pubsub.publish('c', n))
  // From here on there is a way to Redis.
  await openProxy(t, redis.port, port)
  await waiting[0]
  const later = Array.from({ length: 100 }, (_, n) => pubsub.publish('c', 100 + n))
  await Promise.all([...waiting, ...later])
  await all
  t.same(got, Array.from({ length: 200 }, (_, n) => n))
  await pubsub.close()
})

for (const history of [undefined, false] as const) {
  t.test(`a publish that Redis does not answer is unknown, one that was never sent is rejected, both in time (history ${history})`, (t) => unanswered(t, history))
}

async function unanswered (t: Test, history: false | undefined): Promise<void> {
  const redis = await startRedis(t)
  const { log, text } = keepLog()
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 100, log, history })
  await live(pubsub)
  await redis.freeze()
  await t.rejects(pubsub.publish('c', 'hunter2'), { code: 'RT_PUBLISH_UNKNOWN', statusCode: 503, message: /100 ms/ })
  pubsub.publish('c', 'ignored')
  await redis.kill()
  await until(async () => pubsub.connected().publisher, (connected) => connected === false)
  await t.rejects(pubsub.publish('c', 'hunter2'), { code: 'RT_PUBLISH_REJECTED', message: /not connected for 100 ms/ })
  t.match(text(), 'Publishing failed')
  t.notMatch(text(), 'hunter2')
}

t.test('without a log, a publish whose connection breaks before the reply is unknown at once', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 60_000, history: false })
  await live(pubsub)
  await redis.freeze()
  const published = pubsub.publish('c', 1)
  await redis.kill()
  await t.rejects(published, { code: 'RT_PUBLISH_UNKNOWN' })
})

t.test('what Redis refuses is told as rejected, with its reason and nothing secret', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  await admin.call('ACL', 'SETUSER', 'reader', 'on', '>hunter2', 'allchannels', '+@connection', '+subscribe', '+unsubscribe', '+psubscribe', '+info')
  const { log, text } = keepLog()
  const [pubsub, plain] = [undefined, false as const].map((history) => open(t, { url: redis.url.replace('//', '//reader:hunter2@'), log, history })) as [RedisPubSub, RedisPubSub]
  await live(pubsub)
  await live(plain)
  for (const side of [pubsub, plain]) await t.rejects(side.publish('c', { secret: 'hunter2' }), { code: 'RT_PUBLISH_REJECTED', message: /NOPERM/ })
  await admin.call('ACL', 'SETUSER', 'reader', '+publish')
  t.same(await plain.publish('c', 1), { duplicate: false })
  for (const rule of [LOG_RIGHTS.slice(0, 2), LOG_RIGHTS.slice(2)]) {
    await t.rejects(pubsub.publish('c', { secret: 'hunter2' }), { code: 'RT_PUBLISH_REJECTED', message: /NOPERM/ })
    await admin.call('ACL', 'SETUSER', 'reader', ...rule)
  }
  t.match(await pubsub.publish('c', 1), { duplicate: false })
  t.notMatch(text(), 'hunter2')
})

t.test('the rights that are documented are enough, and none of them is too many', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  // A pattern has to be allowed letter by letter: Redis doesn't take one that is within another for allowed.
  const rules = ['resetchannels', '&rt:*', '&rt:{*}', ...LOG_RIGHTS, ...STATE_RIGHTS, ...PUBSUB_RIGHTS]
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>hunter2', ...rules)
  const { log, lines } = keepLog('info')
  const pubsub = open(t, { url: redis.url.replace('//', '//app:hunter2@'), log })
  const got: unknown[] = []
  const unsubscribe = [pubsub.subscribe('*', ({ data }) => { got.push(data) }), pubsub.subscribeExact('c', ({ data }) => { got.push(data) })]
  await live(pubsub)
  const { head: top } = await (pubsub.eventLog as EventLog).read('c', undefined, 1)
  // So that the next event starts the log anew, and then is followed by one that another Redis seems to have written.
  await admin.del('rt:{c}:m')
  await admin.xadd('rt:{c}:s', '*', 'left', 'over')
  await pubsub.publish('c', 1)
  await admin.hset('rt:{c}:m', 'r', 'another')
  await pubsub.publish('c', 2)
  await pubsub.publish('c', 3, { ephemeral: true })
  t.match(await pubsub.eventLog?.read('c', top, 10), { gap: 'epoch', head: { offset: 3 } })
  t.match(await pubsub.eventLog?.read('c', { ...(await pubsub.eventLog.heads(['c']))[0] as Cursor, offset: 1 }, 10), { gap: 'diverged' })
  t.equal(await pubsub.isHealthy(), true)
  await live(pubsub)
  t.same([...got].sort(), [1, 1, 2, 2, 3, 3])
  for (const stop of unsubscribe) stop()
  await live(pubsub)
  t.same(lines, [])
  t.same(await admin.call('ACL', 'LOG'), [], 'nothing was refused')
  const calls = await admin.info('commandstats')
  for (const rule of [...LOG_RIGHTS, ...STATE_RIGHTS, ...PUBSUB_RIGHTS].filter((rule) => rule.startsWith('+'))) t.match(calls, new RegExp(`cmdstat_${rule.slice(1)}:`), `${rule} is used`)
})

t.test('a command that is unknown to Redis is named without its arguments', async (t) => {
  for (const [command, history] of [['PUBLISH', false], ['EVAL', undefined]] as const) {
    const redis = await startRedis(t, ['--rename-command', command, 'hidden'])
    const { log, text } = keepLog()
    const pubsub = open(t, { url: redis.url, log, history })
    await live(pubsub)
    const error = await pubsub.publish('c', { secret: 'hunter2' }).catch((error) => error)
    t.match(error, { code: 'RT_PUBLISH_REJECTED', message: /unknown command/ })
    t.notMatch(error.stack + text(), 'hunter2')
  }
})

t.test('a refused subscription is unhealthy, is told once, and heals by itself', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  await admin.call('ACL', 'SETUSER', 'writer', 'on', '>hunter2', 'resetchannels', '+@all', '~rt:*')
  const { log, lines, line } = keepLog()
  const pubsub = open(t, { url: redis.url.replace('//', '//writer:hunter2@'), log })
  const message = next(pubsub, 'c')
  const unsubscribe = pubsub.subscribeExact('d', () => {})
  t.match(await line('Redis refuses to subscribe, trying again'), { level: 50, reason: /NOPERM/ })
  t.equal(await pubsub.isHealthy(), false)
  // Not wanted any more when it is allowed.
  unsubscribe()
  await admin.call('ACL', 'SETUSER', 'writer', 'allchannels')
  // The subscription is asked for again.
  await until(() => pubsub.isHealthy(), Boolean)
  await pubsub.publish('c', 1)
  await message
  t.equal(lines.filter(({ msg }) => msg.startsWith('Redis refuses')).length, 1)
})

t.test('what Redis refuses does not keep it from what it allows, however they are asked for', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  await admin.call('ACL', 'SETUSER', 'some', 'on', '>hunter2', 'resetchannels', '&rt:{good*', '+@all')
  const pubsub = open(t, { url: redis.url.replace('//', '//some:hunter2@') })
  const live = (channel: string): Promise<void> => new Promise((resolve) => { pubsub.follow(channel, { live: resolve, lost () {}, receive () {} }) })
  // All in one command.
  const allowed = ['good1', 'good2', 'good3', 'good4', 'good5'].map(live)
  pubsub.subscribeExact('bad', () => t.fail('received'))
  pubsub.subscribe('*', () => t.fail('received'))
  allowed.push(live('good6'))
  await Promise.all(allowed)
  t.equal(await pubsub.isHealthy(), false, 'and it says that it was refused something')
})

t.test('a connection that is lost without an error is logged, and its return', async (t) => {
  const redis = await startRedis(t)
  const proxy = await openProxy(t, redis.port, await freePort())
  const { log, line, lines } = keepLog()
  const pubsub = open(t, { url: proxy.url, log })
  await live(pubsub)
  for (const socket of proxy.sockets) socket.end()
  t.match(await line('Redis is out of reach, trying again'), { reason: 'the connection was closed' })
  await line('Redis is back')
  await live(pubsub)
  // Both are back.
  await until(() => pubsub.isHealthy(), Boolean)
  const before = lines.length
  await pubsub.close()
  t.equal(lines.length, before, 'closing it oneself is no loss')
})

t.test('a frozen Redis that nobody asks anything of is noticed, and its thaw', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const lost = new Promise<void>((resolve) => { pubsub.follow('c', { live () {}, lost: resolve, receive () {} }) })
  await live(pubsub)
  await redis.freeze()
  await lost
  await redis.thaw()
  await live(pubsub)
  t.equal(await pubsub.isHealthy(), true)
})

t.test('200 publishes that fail while Redis is away write two lines, and each rejects', async (t) => {
  const redis = await startRedis(t)
  const { log, lines, line } = keepLog('info')
  const pubsub = open(t, { url: redis.url, log, publishTimeoutMs: 200 })
  await live(pubsub)
  await redis.kill()
  await line('Redis is out of reach, trying again')
  const outcomes = await Promise.allSettled(Array.from({ length: 200 }, (_, n) => pubsub.publish(`c${n}`, n)))
  t.ok(outcomes.every((outcome) => outcome.status === 'rejected' && outcome.reason.code.startsWith('RT_PUBLISH_')))
  await redis.restart()
  await line('Redis is back')
  await pubsub.publish('c', 1)
  t.match(await line('Publishing works again'), { level: 30, count: 200 })
  const failures = lines.filter(({ msg }) => msg === 'Publishing failed')
  t.match(failures[0], { level: 40, channel: /^c\d+$/, code: /^RT_PUBLISH_/, reason: /Publish (it )?again/ })
  t.ok(failures.length <= 2, 'one for each code')
})

t.test('a Redis that closes idle connections again and again does not fill the log', async (t) => {
  const redis = await startRedis(t)
  const { log, lines, line } = keepLog('info')
  const pubsub = open(t, { url: redis.url, log })
  await live(pubsub)
  const admin = client(t, redis.url)
  // The probe of the health check is through, so that the connection is idle.
  await until(() => pubsub.isHealthy(), Boolean)
  for (let round = 0; round < 20; round++) {
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await until(() => pubsub.isHealthy(), Boolean)
  }
  await line('Redis is back')
  t.equal(lines.filter(({ connection }) => connection === 'publisher').length, 2, 'lost and back, once each')
})

t.test('what is no message of ours is ignored and logged', async (t) => {
  const redis = await startRedis(t)
  const { log, lines } = keepLog()
  const pubsub = open(t, { url: redis.url, log })
  const got: unknown[] = []
  pubsub.subscribeExact('c', ({ data }) => { got.push(data) })
  pubsub.subscribe('*', ({ data }) => { got.push(data) })
  await live(pubsub)
  const admin = client(t, redis.url)
  const head = '1 - - - - d other 1 message '
  const garbage = [
    '', 'hello', '{"json":true}', Buffer.from([0xff, 0xfe, 0, 1]), `2${head.slice(1)}{}`, `${head}`, `${head}1\ndata: forged`, `${head}1\r2`,
    '1 - - - - x other 1 message {}', '1 - - - - d o/ther 1 message {}', '1 - - - - d other 1e3 message {}', '1 - - - - d other 1 reset {}',
    '1 - - - - d other 1 me\nssage {}', 'x '.repeat(10_000)
  ]
  for (const message of garbage) await admin.publish('rt:{c}', message)
  await admin.publish('rt:{%}', `${head}1`)
  await admin.publish('rt:{', `${head}1`)
  await admin.publish('rt:{c}', `${head}{not json`)
  await admin.publish('rt:{c}', `${head}{"fine":1}`)
  await live(pubsub)
  t.same(got, [{ fine: 1 }, { fine: 1 }])
  await pubsub.close()
  t.equal(lines.findLast(({ msg }) => msg.startsWith('Ignored'))?.count, garbage.length * 2 + 1)
  t.notMatch(JSON.stringify(lines), 'not json')
})

t.test('an app\'s own client publishes, is duplicated to subscribe, and stays open', async (t) => {
  const redis = await startRedis(t)
  for (const [index, options] of [{}, { lazyConnect: true }, { keyPrefix: 'app:' }].entries()) {
    const app = client(t, redis.url, options)
    const pubsub = new RedisPubSub({ client: app })
    const message = next(pubsub, 'c')
    await live(pubsub)
    await pubsub.publish('c', 1)
    t.match(await message, { data: 1 })
    await pubsub.close()
    t.equal(await app.ping(), 'PONG')
    t.equal((await app.client('LIST') as string).trim().split('\n').length, index + 1, 'only clients of the app are left')
    t.same([app.listenerCount('ready'), app.listenerCount('error')], [0, 1])
  }
})

/** What ioredis does when a Sentinel tells of a failover while it connects: it ends for good. */
async function failOver (client: Redis): Promise<void> {
  const ended = ends(client)
  client.once('connecting', () => (client as unknown as { connector: { disconnect (): void } }).connector.disconnect())
  client.disconnect(true)
  await ended
}

/** Resolves when it has ended. It says that by an error, too. */
function ends (client: Redis): Promise<unknown> {
  return new Promise((resolve) => client.once('end', resolve))
}

t.test('a failover that comes while a connection is made ends neither publishing nor subscribing', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const duplicate = app.duplicate.bind(app)
  const own: Redis[] = []
  app.duplicate = (options) => {
    const other = duplicate(options)
    own.push(other)
    return other
  }
  const pubsub = open(t, { client: app, publishTimeoutMs: 500 })
  const got: unknown[] = []
  pubsub.subscribe('*', ({ data }) => { got.push(data) })
  await live(pubsub)
  for (const connection of [app, own[0] as Redis]) {
    await failOver(connection)
    await once(connection, 'ready')
  }
  await live(pubsub)
  await pubsub.publish('c', 1)
  await live(pubsub)
  t.same(got, [1])
  const ended = ends(app)
  app.disconnect()
  await ended
  await t.rejects(pubsub.publish('c', 2), { code: 'RT_PUBLISH_REJECTED' })
  t.equal(app.status, 'end', 'unlike one that the app has ended')
})

t.test('a client that the app has ended stays so, whatever it was doing', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const pubsub = open(t, { client: app, publishTimeoutMs: 500 })
  await live(pubsub)
  const ended = ends(app)
  app.once('connecting', () => app.disconnect())
  app.disconnect(true)
  await ended
  await t.rejects(pubsub.publish('c', 1), { code: 'RT_PUBLISH_REJECTED' })
  t.equal(app.status, 'end')
})

t.test('closing is quick without Redis and rejects what waits', async (t) => {
  for (const state of ['absent', 'frozen', 'killed']) {
    const redis = await startRedis(t)
    if (state === 'absent') await redis.kill()
    const pubsub = new RedisPubSub({ url: redis.url })
    if (state !== 'absent') await live(pubsub)
    if (state === 'frozen') await redis.freeze()
    if (state === 'killed') await redis.kill()
    const published = pubsub.publish('c', 1)
    const started = performance.now()
    await pubsub.close()
    t.ok(performance.now() - started < 3_000, state)
    await t.rejects(published, { code: /RT_CLOSED|RT_PUBLISH_UNKNOWN/ })
    await t.rejects(pubsub.publish('c', 1), { code: 'RT_CLOSED' })
  }
})

t.test('a client of the app\'s that has ended can\'t publish, and says so', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const pubsub = open(t, { client: app, publishTimeoutMs: 50 })
  await live(pubsub)
  app.disconnect()
  await once(app, 'end')
  await t.rejects(pubsub.publish('c', 1), { code: 'RT_PUBLISH_REJECTED' })
  t.equal(await pubsub.isHealthy(), false)
})
