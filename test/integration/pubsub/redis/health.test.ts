import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { readdir, readFile } from 'node:fs/promises'
import type { Redis } from 'ioredis'
import { LocalPubSub, type RealtimeOptions, type RedisPubSub } from '../../../../lib/index.ts'
import { startApp } from '../../../support/app.ts'
import { freePort } from '../../../support/free-port.ts'
import { live } from '../../../support/live.ts'
import { keepLines } from '../../../support/log.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import type { RedisServer } from '../../../support/redis-server.ts'
import { Document } from '../../../support/snippets.ts'
import { until } from '../../../support/until.ts'

/** A Redis with a user `app`, who has all rights but some. */
async function start (t: Test, ...without: string[]): Promise<{ redis: RedisServer, admin: Redis, url: string }> {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>hunter2', 'allchannels', 'allkeys', '+@all', ...without)
  return { redis, admin, url: redis.url.replace('//', '//app:hunter2@') }
}

/** Resolves once both connections are there. */
const connected = (pubsub: RedisPubSub): Promise<void> =>
  until(async () => pubsub.connected(), ({ publisher, subscriber }) => publisher === true && subscriber === true)

type Answer = [status: number, body: { error?: { code: string, message: string } }]

/** An app on a Redis, its health as a probe of Kubernetes sees it, and all that it logs. */
async function startHealth (t: Test, redisUrl: string, options: RealtimeOptions = {}): Promise<{
  app: FastifyInstance
  health (): Promise<Answer>
  text (): string
}> {
  const { lines, write } = keepLines()
  const { app, url } = await startApp(t, { redisUrl, ...options }, {
    server: { logger: { level: 'debug', stream: { write } } }
  })
  await connected(app.pubsub as RedisPubSub)
  const health = async (): Promise<Answer> => {
    const response = await fetch(`${url}/api/health/pubsub`)
    return [response.status, await response.json() as Answer[1]]
  }
  return { app, health, text: () => lines.join('') }
}

/** Checks that a body has all its fields, and shows nothing that is not public. */
function unhealthy (t: Test, [status, body]: Answer, error: { code: string, message: RegExp | string }): void {
  t.equal(status, 503)
  t.match(body, {
    status: 'error',
    provider: 'redis',
    healthy: false,
    error,
    stats: { channels: Number, patterns: Number },
    chatSubscriptions: { pubsubProvider: 'redis' },
    timestamp: String
  })
  t.notMatch(JSON.stringify(body.error), /hunter2|rt:|probe:|redis:\/\/|127\.0\.0\.1/)
}

/** The commands that the plugin sends on the publishing connection. */
const commands = [
  'eval', 'evalsha', 'info', 'exists', 'del', 'get', 'hmget', 'xadd', 'hset', 'pexpire', 'set', 'publish', 'ping',
  'time', 'xrange', 'xrevrange', 'hget', 'hgetall', 'hdel', 'zadd', 'zrangebyscore', 'zrem'
]

t.test('a probe needs every command that the scripts run, and the reference lists them all', async (t) => {
  const lua = new URL('../../../../lib/pubsub/redis/lua/', import.meta.url)
  const sources = await Promise.all(
    (await readdir(lua, { recursive: true })).filter((name) => name.endsWith('.lua')).map((name) => {
      return readFile(new URL(name, lua), 'utf8')
    })
  )
  const run = [...sources.join('\n').matchAll(/\.p?call\(\s*'?(\w+)'?[,)]/g)].map(([, name = '']) => name.toLowerCase())
  // `command` is the argument that lua/includes/refusals.lua passes on.
  const scripts = [...new Set(run.filter((name) => name !== 'command'))].sort()
  const besides = ['eval', 'evalsha', 'ping']
  t.same([...scripts, ...besides].sort(), [...commands].sort())
  const [rules = ''] = (await Document.read('docs/reference.md')).blocks('acl')
  const granted = rules.split(/\s+/).filter((rule) => rule.startsWith('+')).map((rule) => rule.slice(1))
  const connecting = ['subscribe', 'unsubscribe', 'hello', 'client', 'quit']
  t.same(granted.sort(), [...commands, ...connecting].sort())
})

for (const command of commands) {
  t.test(`a Redis user who may not run ${command} is unhealthy, and the reason names it`, async (t) => {
    const { admin, url } = await start(t, `-${command}`)
    const { health, text } = await startHealth(t, url)
    unhealthy(t, await health(), {
      code: 'NOPERM',
      message: `The Redis user may not run '${command}'. Give it the rights that docs/reference.md lists.`
    })
    if (command !== 'del') t.same(await admin.keys('*'), [], 'and nothing is left of the probe')
    await admin.call('ACL', 'SETUSER', 'app', `+${command}`)
    const [status, body] = await health()
    t.equal(status, 200, 'at once after the rights are given')
    t.match(body, { status: 'ok', healthy: true })
    t.notOk('error' in body)
    t.notMatch(text(), 'hunter2')
  })
}

for (const [names, rules, all] of [
  ['keys', ['resetkeys', '~other:*'], 'allkeys'],
  ['channels', ['resetchannels', '&other:*'], 'allchannels']
] as const) {
  t.test(`a Redis user with other ${names} is unhealthy`, async (t) => {
    const { url, admin } = await start(t, ...rules)
    const { health, text } = await startHealth(t, url)
    unhealthy(t, await health(), {
      code: 'NOPERM', message: new RegExp(`may not .*\\b${names} that begin with keyPrefix`)
    })
    await admin.call('ACL', 'SETUSER', 'app', all)
    await until(health, ([status]) => status === 200)
    t.notMatch(text(), 'hunter2')
  })
}

for (const [code, setting] of [['OOM', 'maxmemory'], ['NOREPLICAS', 'min-replicas-to-write']] as const) {
  t.test(`a Redis that takes no writes is unhealthy: ${code}`, async (t) => {
    const { admin, redis } = await start(t)
    const { app, health } = await startHealth(t, redis.url)
    await admin.config('SET', setting, '1')
    unhealthy(t, await health(), { code, message: new RegExp(setting) })
    await t.rejects(app.chatEvents.emitChatMessage('c', {}), { message: new RegExp(code) }, 'as a publish is')
    await admin.config('SET', setting, '0')
    t.equal((await health())[0], 200)
  })
}

t.test('a frozen Redis and a dead one are unhealthy, and healthy once they are back', async (t) => {
  const { redis } = await start(t)
  const { app, health } = await startHealth(t, redis.url)
  await redis.freeze()
  unhealthy(t, await health(), { code: 'UNAVAILABLE', message: /did not answer in time/ })
  unhealthy(t, await health(), { code: 'UNAVAILABLE', message: /did not answer in time/ })
  await redis.thaw()
  await until(health, ([status]) => status === 200)
  await redis.kill()
  const pubsub = app.pubsub as RedisPubSub
  await until(async () => pubsub.connected(), ({ publisher, subscriber }) => {
    return publisher === false && subscriber === false
  })
  unhealthy(t, await health(), { code: 'UNREACHABLE', message: 'Redis is not connected.' })
  await redis.restart()
  await until(health, ([status]) => status === 200)
})

t.test('a subscriber that is not connected is unhealthy', async (t) => {
  const { admin, url } = await start(t)
  const pubsub = open(t, { url })
  await connected(pubsub)
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  const stop = pubsub.subscribeExact('c', () => {})
  await live(pubsub)
  t.same(await pubsub.health(), { healthy: true }, 'it is connected')
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until(async () => pubsub.connected(), ({ subscriber }) => subscriber === false)
  t.match(await pubsub.health(), { healthy: false, error: { code: 'UNREACHABLE' } })
  stop()
})

t.test('a probe is published every few seconds at most, reaches no subscriber and leaves no data', async (t) => {
  const { admin, url } = await start(t)
  const pubsub = open(t, { url })
  const bare = open(t, { url, keyPrefix: '' })
  const got: unknown[] = []
  for (const { subscribe } of [pubsub, bare].map((one) => ({ subscribe: one.subscribe.bind(one) }))) {
    t.teardown(subscribe('*', ({ channel }) => { got.push(channel) }))
  }
  await Promise.all([live(pubsub), live(bare), connected(pubsub), connected(bare)])
  t.same(await Promise.all([pubsub.isHealthy(), pubsub.isHealthy()]), [true, true])
  t.same(await admin.keys('*'), [])
  const appended = async (): Promise<string | undefined> => {
    return /cmdstat_xadd:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1]
  }
  t.equal(await appended(), '2', 'once as EVAL and once as EVALSHA')
  t.equal(await pubsub.isHealthy(), true)
  t.equal(await appended(), '2', 'no second one')
  await Promise.all([live(pubsub), live(bare)])
  t.same(got, [])
})

t.test('a probe that may not be deleted expires soon, and no app channel has its name', async (t) => {
  const { admin, url } = await start(t, '-del')
  const pubsub = open(t, { url })
  await connected(pubsub)
  t.equal(await pubsub.isHealthy(), false)
  const keys = await admin.keys('*')
  t.equal(keys.length, 3)
  for (const key of keys) {
    t.match(key, /^rt:!\{probe:\d+\}:/)
    const ttl = await admin.pttl(key)
    t.ok(ttl > 0 && ttl <= 10_000, `${key}: ${ttl} ms`)
  }
})

t.test('without history, a user without the right to publish is unhealthy', async (t) => {
  const { admin, url } = await start(t, '-publish')
  const pubsub = open(t, { url, history: false })
  await connected(pubsub)
  t.match(await pubsub.health(), { healthy: false, error: { code: 'NOPERM', message: /'publish'/ } })
  await admin.call('ACL', 'SETUSER', 'app', '+publish')
  t.same(await pubsub.health(), { healthy: true })
})

t.test('the app\'s own client with a keyPrefix is healthy with the rights that the reference lists', async (t) => {
  const { redis } = await start(t, 'resetkeys', '~app:rt:*', 'resetchannels', '&app:rt:*')
  for (const history of [undefined, false] as const) {
    const options = { keyPrefix: 'app:', username: 'app', password: 'hunter2' }
    const pubsub = open(t, { client: client(t, redis.url, options), history })
    await connected(pubsub)
    t.same(await pubsub.health(), { healthy: true })
  }
})

t.test('a refused subscription and a closed provider have codes of their own', async (t) => {
  const { url } = await start(t, 'resetchannels', '&rt:!*')
  const pubsub = open(t, { url })
  await connected(pubsub)
  const stop = pubsub.subscribeExact('refused', () => {})
  await until(() => pubsub.health(), ({ error }) => error?.code === 'UNSUBSCRIBED')
  stop()
  await pubsub.close()
  t.match(await pubsub.health(), { healthy: false, error: { code: 'CLOSED' } })
})

t.test('a loop that checks the health without a pause does not freeze the process', async (t) => {
  const url = `redis://127.0.0.1:${await freePort()}`
  const away = open(t, { url })
  const [closed, local] = [open(t, { url }), new LocalPubSub()]
  await Promise.all([closed.close(), local.close()])
  for (const pubsub of [away, closed, local]) {
    let asked = 0
    const turn = new Promise<number>((resolve) => { setImmediate(() => resolve(asked)) })
    for (; asked < 1_000; asked++) t.equal(await pubsub.isHealthy(), false)
    t.ok(await turn < 1_000, 'timers and replies have their turn meanwhile')
  }
})
