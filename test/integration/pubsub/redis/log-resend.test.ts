import t from 'tap'
import { Redis } from 'ioredis'
import { parseCursor, type Cursor } from '../../../../lib/pubsub/cursor.ts'
import { RealtimeError } from '../../../../lib/index.ts'
import { LogWriter } from '../../../../lib/pubsub/redis/log-writer.ts'
import { RedisKeys } from '../../../../lib/pubsub/redis/keys.ts'
import type { Command } from '../../../../lib/pubsub/redis/command-queue.ts'
import { Scripts } from '../../../../lib/pubsub/redis/scripts.ts'
import { live } from '../../../support/live.ts'
import { LossyProxy } from '../../../support/lossy-proxy.ts'
import { client, open, startLossy, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'
import { upTo } from '../../../support/numbers.ts'
import { publish, contentsOf, follow } from './log-of-one-chat.ts'

/** Makes the next script one that Redis does not know. */
function forgetNext (app: Redis): void {
  const { sendCommand } = app
  app.sendCommand = (command, ...more) => {
    app.sendCommand = sendCommand
    command.args[0] = '0'.repeat(40)
    return sendCommand.call(app, command, ...more)
  }
}

t.beforeEach(nothingUnhandled)

t.test('an event that a user may only write in part is refused as a whole, and published once allowed', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const grant = (...rules: string[]): Promise<unknown> => admin.call('ACL', 'SETUSER', 'app', ...rules)
  await grant('on', '>hunter2', 'allchannels', 'allkeys', '+@all')
  const pubsub = open(t, { url: redis.url.replace('//', '//app:hunter2@') })
  const got = await follow(open(t, { url: redis.url }))
  const kept = async (channel: string): Promise<unknown> => {
    return [await admin.hgetall(`rt:{${channel}}:m`), await admin.xlen(`rt:{${channel}}:s`)]
  }
  await publish(pubsub, 1)
  for (const command of ['hset', 'xadd']) {
    const before = [await kept('c'), await kept('new')]
    await grant(`-${command}`)
    const refused = upTo(20).map((n) => {
      return t.rejects(pubsub.publish(n % 2 === 0 ? 'c' : 'new', 'refused'), { code: 'RT_PUBLISH_REJECTED' })
    })
    await Promise.all(refused)
    t.same([await kept('c'), await kept('new')], before, `${command}: nothing is left of it`)
    await grant(`+${command}`)
  }
  const after = await publish(pubsub, 2, 3)
  t.same(after.map(({ offset }) => offset), [2, 3])
  await live(pubsub)
  t.same(got, [1, 2, 3], 'no part of it is broadcast')
  t.match(await pubsub.publish('new', 1), { duplicate: false })
})

t.test('if Redis forgets scripts during publishes, each publish is applied once and in order', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const [pubsub, other] = [open(t, { url: redis.url }), open(t, { url: redis.url })]
  const got = await follow(pubsub)
  for (const publisher of [pubsub, other]) await publisher.publish('warm', 0)
  const receipts: Promise<unknown>[] = []
  for (let n = 1; n <= 500; n++) {
    receipts.push(pubsub.publish('c', { by: 1, n }), other.publish('c', { by: 2, n }))
    if (n % 25 !== 0) continue
    admin.script('FLUSH')
    // The flush reaches Redis between two of them.
    await new Promise(setImmediate)
  }
  await Promise.all(receipts)
  await live(pubsub)
  for (const seen of [
    got, contentsOf(await pubsub.eventLog.read('c', undefined, 2_000))
  ] as { by: number, n: number }[][]) {
    t.equal(seen.length, 1_000)
    for (const by of [1, 2]) t.same(seen.filter((event) => event.by === by).map(({ n }) => n), upTo(500))
  }
  t.match(await admin.info('errorstats'), /errorstat_NOSCRIPT/, 'some met it')
  await admin.script('FLUSH')
  t.equal((await pubsub.eventLog.read('c', undefined, 1)).entries.length, 1, 'reading continues, too')
})

t.test('later events do not overtake one whose script was forgotten, even if the script is loaded again', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const pubsub = open(t, { client: app })
  await publish(pubsub, 1)
  forgetNext(app)
  const receipts = await Promise.all(upTo(10).map((n) => pubsub.publish('c', n + 1)))
  t.same(receipts.map(({ id }) => parseCursor(id as string)?.offset), upTo(11).slice(1))
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 100)), upTo(11))
  // Events that wait behind a refused one continue without it.
  await client(t, redis.url).config('SET', 'maxmemory', '1')
  const refused = [12, 13].map((n) => t.rejects(pubsub.publish('c', n), { code: 'RT_PUBLISH_REJECTED' }))
  await Promise.all(refused)
})

t.test('events with and without the app\'s keys are applied once and in order after any resend', async (t) => {
  const redis = await startRedis(t)
  const proxy = await LossyProxy.start(t, redis.port)
  const pubsub = open(t, { url: `redis://127.0.0.1:${proxy.port}` })
  const all = async (): Promise<unknown[]> => contentsOf(await pubsub.eventLog.read('c', undefined, 100))
  await publish(pubsub, 1)
  const lost = proxy.loseReplyTo('evalsha')
  const receipts = [pubsub.publish('c', 2, { idempotencyKey: 'two' }), pubsub.publish('c', 3), pubsub.publish('c', 4)]
  await lost
  await Promise.all(receipts)
  t.same(await all(), upTo(4), 'after replies were lost')

  const app = client(t, redis.url)
  const other = open(t, { client: app })
  await other.publish('c', 5)
  forgetNext(app)
  await Promise.all([
    other.publish('elsewhere', 0), other.publish('c', 6, { idempotencyKey: 'six' }), other.publish('c', 7)
  ])
  t.same(await all(), upTo(7), 'after a script of another channel was forgotten')
  const twice = { id: (await receipts[0])?.id, duplicate: true }
  forgetNext(app)
  const [, again] = await Promise.all([
    other.publish('c', 8), other.publish('c', 2, { idempotencyKey: 'two' }), other.publish('c', 9)
  ])
  t.same(again, twice)
  t.same(await all(), upTo(9), 'repeated publishes are not overtaken by later ones')
  await client(t, redis.url).config('SET', 'maxmemory', '1')
  t.same(await other.publish('c', 2, { idempotencyKey: 'two' }), twice, 'and needs no memory')
})

t.test('thousands of keys of the app at once cost little and keep their order', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url, history: { size: 10_000 } })
  const [first] = await publish(pubsub, 0) as [Cursor]
  await admin.config('RESETSTAT')
  await Promise.all(upTo(10_000).map((n) => pubsub.publish('c', n, { idempotencyKey: `key ${n}` })))
  const got: unknown[] = []
  for (let at = first; got.length < 10_000;) {
    const page = await pubsub.eventLog.read('c', at, 10_000)
    got.push(...contentsOf(page))
    at = page.entries.at(-1)?.position as Cursor
  }
  t.same(got, upTo(10_000))
  const [, bytes] = /total_net_input_bytes:(\d+)/.exec(await admin.info('stats')) ?? []
  t.ok(Number(bytes) < 10_000 * 2_000, `${bytes} bytes went to Redis`)
})

t.test('later events do not overtake one that is refused while an earlier one is delayed', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const { eventLog: log } = open(t, { client: app })
  type Send = (command: Command<unknown>) => Promise<unknown>
  let through: Send
  const appender = new LogWriter({
    keys: new RedisKeys({ keyPrefix: 'rt:' }),
    scripts: new Scripts({
      size: 100, ttlMs: 10_000, idempotencyTtlMs: 10_000, publishTimeoutMs: 5_000, sharded: false, cached: new Set()
    }),
    apart: false,
    commands: {
      perform: ({ command, resolve, reject }) => {
        through(command).then(resolve as (value: unknown) => void, ({ message }) => {
          return reject(new RealtimeError('RT_PUBLISH_REJECTED', message))
        })
      }
    },
    bounds: { flush () {} },
    onUnheard: () => {}
  })
  const append = (n: number, send: Send, channel = 'c'): Promise<unknown> => {
    through = send
    const appended = appender.append(channel, { from: 'a', timestamp: 1, event: 'message', json: String(n) }, undefined)
    appender.flush()
    return appended
  }
  let release = (): void => {}
  const held = new Promise<void>((resolve) => { release = resolve })
  const one = append(1, async (command) => { await held; return await command(app) })
  for (const n of [2, 3]) {
    await t.rejects(append(n, () => Promise.reject(new Error('refused'))), {
      code: 'RT_PUBLISH_REJECTED', message: /refused/
    })
  }
  // So many that those that have ended are forgotten.
  for (const n of upTo(64)) await append(n, (command) => command(app), `other ${n}`)
  await t.rejects(append(4, (command) => command(app)), { message: /EARLY/ })
  release()
  await one
  await append(4, (command) => command(app))
  t.same(contentsOf(await log.read('c', undefined, 10)), [1, 4])
})

t.test('a publish whose reply is lost with its connection is applied once, and returns its id', async (t) => {
  const redis = await startRedis(t)
  const proxy = await LossyProxy.start(t, redis.port)
  const pubsub = open(t, { url: `redis://127.0.0.1:${proxy.port}` })
  const got = await follow(open(t, { url: redis.url }))
  await publish(pubsub, 1)
  const lost = proxy.loseReplyTo('evalsha')
  const receipts = upTo(10).map((n) => pubsub.publish('c', n + 1))
  await lost
  const [two] = await Promise.all(receipts)
  t.match(parseCursor(two?.id as string), { offset: 2 })
  t.equal(two?.duplicate, false)
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 100)), upTo(11))
  while (got.length < 11) await new Promise(setImmediate)
  t.same(got, upTo(11))
})

t.test('a publish whose reply was lost and whose resend is refused has an unknown outcome', async (t) => {
  const { admin, proxy, pubsub } = await startLossy(t)
  await publish(pubsub, 1)
  proxy.loseReplyTo('evalsha', () => admin.call('ACL', 'SETUSER', 'app', '-eval', '-evalsha'))
  const published = pubsub.publish('c', 2)
  await t.rejects(published, { code: 'RT_PUBLISH_UNKNOWN', message: /NOPERM/ })
  await t.rejects(pubsub.publish('c', 3), { code: 'RT_PUBLISH_REJECTED', message: /NOPERM/ })
})

t.test('a publish that timed out is applied once when it is repeated with its key', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 200 })
  await until(() => pubsub.isHealthy(), Boolean)
  await publish(pubsub, 1)
  await redis.freeze()
  await t.rejects(pubsub.publish('c', 2, { idempotencyKey: 'key' }), { code: 'RT_PUBLISH_UNKNOWN' })
  await t.rejects(pubsub.eventLog.read('c', undefined, 1), { code: 'RT_LOG_UNAVAILABLE', statusCode: 503 })
  await t.rejects(pubsub.eventLog.heads(['c']), { code: 'RT_LOG_UNAVAILABLE' })
  await redis.thaw()
  t.match(await pubsub.publish('c', 2, { idempotencyKey: 'key' }), { duplicate: true })
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 10)), [1, 2])
})

t.test('two instances with the same name, one after the other, do not drop each other\'s events', async (t) => {
  const redis = await startRedis(t)
  for (const n of [1, 2]) {
    const pubsub = open(t, { url: redis.url, instanceId: 'web-1' })
    t.match(await pubsub.publish('c', n), { duplicate: false })
    await pubsub.close()
  }
  t.same(contentsOf(await open(t, { url: redis.url }).eventLog.read('c', undefined, 10)), [1, 2])
})

t.test('the app\'s client whose commands time out while it stays connected blocks nothing', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url, { commandTimeout: 50 })
  const pubsub = open(t, { client: app })
  await publish(pubsub, 1)
  const timedOut = new Promise<void>((resolve) => {
    const { sendCommand } = app
    app.sendCommand = (...args) => {
      const sent = sendCommand.apply(app, args) as Promise<unknown>
      sent.catch(() => resolve())
      return sent
    }
  })
  await redis.freeze()
  const published = [pubsub.publish('c', 2), pubsub.publish('c', 3)]
  await timedOut
  await redis.thaw()
  t.match(await Promise.all(published), [{ id: String }, { id: String }])
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 10)), [1, 2, 3])
})
