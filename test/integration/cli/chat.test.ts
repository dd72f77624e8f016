import t from 'tap'
import { ChatEvents } from '../../../lib/index.ts'
import { keepLog } from '../../support/log.ts'
import { startCommand, runToEnd } from '../../support/command.ts'
import { client, open, startRedis } from '../../support/redis.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { freePort } from '../../support/free-port.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'

const EVENT = '{"type":"message","message":{"text":"Hello"}}'

t.beforeEach(nothingUnhandled)

t.test('publish prints the receipt, and a key publishes once', async (t) => {
  const { url } = await startRedis(t)
  const env = { REDIS_URL: url }
  const first = await runToEnd(t, ['publish', 'c', EVENT, '--key', 'k'], { env })
  t.match(first, { status: 0, stderr: '', stdout: /^\{"id":"\w+-1-\d+","duplicate":false\}\n$/ })
  const again = await runToEnd(t, ['publish', 'c', '-', '--key', 'k'], { env, input: EVENT })
  t.match(JSON.parse(again.stdout), { ...JSON.parse(first.stdout), duplicate: true })
  t.match(await runToEnd(t, ['publish', 'c', '{"type":"reset"}'], { env }), {
    status: 2, stdout: '', stderr: /^RT_EVENT_TYPE_INVALID: /
  })
  const redis = client(t, url)
  t.ok(await redis.pttl('rt:{chat:c}:s') > 24 * 3_600_000, 'a longer history of the app is not made shorter')
})

t.test('a password on the command line is warned of, and is in no output', async (t) => {
  const redis = await startRedis(t, ['--requirepass', 'hunter2'])
  const run = await runToEnd(t, ['publish', 'c', EVENT, '--redis', redis.url.replace('//', '//:hunter2@')])
  t.match(run, { status: 0, stderr: /^Other users of this machine can see the URL/ })
  t.notMatch(run.stderr + run.stdout, 'hunter2')
  const wrong = startCommand(t, ['tail', 'c'], { env: { REDIS_URL: redis.url.replace('//', '//:hunter3@') } })
  await wrong.prints(/trying again: WRONGPASS/)
  wrong.interrupt()
  t.equal(await wrong.exited, 0)
  t.notMatch(wrong.stdout() + wrong.stderr(), /hunter/)
})

t.test('publish fails with 1 where nothing listens, and names the reason', async (t) => {
  const REDIS_URL = `redis://127.0.0.1:${await freePort()}`
  const run = await runToEnd(t, ['publish', 'c', EVENT], { env: { REDIS_URL } })
  t.match(run, { status: 1, stdout: '', stderr: /ECONNREFUSED.*\n[^]*^RT_PUBLISH_REJECTED: /m })
})

t.test('tail shows the last events, then each one that is published, until Ctrl+C', async (t) => {
  const { url } = await startRedis(t)
  const pubsub = open(t, { url })
  const chatEvents = new ChatEvents(pubsub, { log: keepLog().log })
  t.teardown(() => chatEvents.close())
  for (let n = 1; n <= 5; n++) await chatEvents.emitChatMessage('c', { n })
  const tail = startCommand(t, ['tail', 'c', '-n', '2'], { env: { REDIS_URL: url } })
  await tail.prints(/"n":5/)
  await chatEvents.emitChatMessage('c', { n: 6, text: 'red \u001b[31m \u009b31m' })
  await tail.prints(/"n":6/)
  await chatEvents.publish('c', { type: 'shake' } as never, { ephemeral: true })
  await tail.prints(/shake/)
  tail.interrupt()
  t.equal(await tail.exited, 0)
  const lines = tail.stdout().trim().split('\n')
  t.equal(lines.length, 4)
  for (const [index, line] of lines.slice(0, 3).entries()) {
    t.match(line, new RegExp(`^\\w+-${index + 4}-\\d+ 20\\S+Z message \\{.*"n":${index + 4}`))
  }
  t.match(lines[2], /red \\u001b\[31m \\u009b31m/, 'control characters do not reach the terminal')
  t.match(lines[3], /^- 20\S+Z shake \{/)
  t.equal(tail.stderr(), '')
})

t.test('tail begins at the end of the log with -n 0, and in an empty log', async (t) => {
  const { url } = await startRedis(t)
  const pubsub = open(t, { url })
  await pubsub.publish('chat:c', { n: 1 })
  for (const [args, chat] of [[['-n', '0'], 'c'], [[], 'd']] as const) {
    const tail = startCommand(t, ['tail', chat, ...args], { env: { REDIS_URL: url } })
    const marker = setInterval(() => { pubsub.publish(`chat:${chat}`, { n: 2 }) }, 50)
    await tail.prints(/"n":2/)
    clearInterval(marker)
    t.notMatch(tail.stdout(), '"n":1')
    tail.interrupt()
    await tail.exited
  }
})

t.test('tail shows a lost log and a restart as resets, and an outage once', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('chat:c', { n: 1 })
  const tail = startCommand(t, ['tail', 'c'], { env: { REDIS_URL: redis.url } })
  await tail.prints(/"n":1/)
  await admin.del('rt:{chat:c}:m', 'rt:{chat:c}:s')
  await pubsub.publish('chat:c', { n: 2 })
  await tail.prints(/--- reset: epoch\. Events before this line may be missing ---/)
  await pubsub.publish('chat:c', { n: 3 })
  await tail.prints(/"n":3/)
  await admin.hset('rt:{chat:c}:m', 'r', 'another')
  await pubsub.publish('chat:c', { n: 4 })
  await tail.prints(/--- reset: failover.*\n.*"n":4/)
  await redis.kill()
  await tail.prints(/RT_LOG_UNAVAILABLE/)
  await redis.restart()
  await tail.prints(/reset: epoch[^]*reset: epoch/)
  tail.interrupt()
  t.equal(await tail.exited, 0)
  t.equal(tail.stderr().match(/RT_LOG_UNAVAILABLE/g)?.length, 1)
})

t.test('tail shows once that a log may have lost events and cannot be marked', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('chat:c', { n: 1 })
  await admin.hset('rt:{chat:c}:m', 'r', 'another')
  await admin.call('ACL', 'SETUSER', 'reader', 'on', '>pw', '~*', 'allchannels', '+@all', '-xadd')
  const tail = startCommand(t, ['tail', 'c'], { env: { REDIS_URL: redis.url.replace('//', '//reader:pw@') } })
  await tail.prints(/reset: failover/)
  const shown = tail.stdout()
  // Each of them makes it read again.
  for (let n = 0; n < 3; n++) await admin.publish('rt:{chat:c}', `1 epoch 9 9 9 d from ${n} x {}`)
  await pubsub.publish('chat:c', { type: 'shake' }, { ephemeral: true })
  await tail.prints(/shake/)
  t.equal(tail.stdout().match(/reset/g)?.length, 1, shown)
})

t.test('tail waits for a slow reader, and ends if nothing reads any more', async (t) => {
  const { url } = await startRedis(t)
  const pubsub = open(t, { url })
  for (let n = 1; n <= 3; n++) await pubsub.publish('chat:c', { n, text: 'x'.repeat(20_000) })
  const tail = startCommand(t, ['tail', 'c'], { env: { REDIS_URL: url } })
  tail.output.pause()
  await new Promise<void>((resolve) => {
    const look = (): unknown => tail.output.writableNeedDrain ? resolve() : setImmediate(look)
    look()
  })
  t.ok(tail.output.readableLength + tail.output.writableLength < 80_000)
  await pubsub.publish('chat:c', { type: 'shake' }, { ephemeral: true })
  tail.output.resume()
  await tail.prints(/"n":3/)
  tail.output.emit('error', Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
  t.equal(await tail.exited, 0)
})
