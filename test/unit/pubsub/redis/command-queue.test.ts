import t from 'tap'
import { EventEmitter } from 'node:events'
import type { Redis } from 'ioredis'
import { silentLogger } from '../../../../lib/core/logger.ts'
import { RedisPubSub } from '../../../../lib/index.ts'
import { BYTES_EACH, CommandQueue } from '../../../../lib/pubsub/redis/command-queue.ts'
import { RedisServer } from '../../../support/redis-server.ts'
import { client as connect } from '../../../support/redis.ts'
import { until } from '../../../support/until.ts'

/** A client in the moment that no real one can be held in: connected by its status, its socket no longer writable. */
class ClosingClient extends EventEmitter {
  status = 'ready'
  writable = false
  readonly sent: string[] = []

  async publish (_channel: string, message: Buffer): Promise<number> {
    if (!this.writable) throw new Error('Stream isn\'t writeable and enableOfflineQueue options is false')
    this.sent.push(message.toString())
    return 0
  }
}

function open (timeoutMs: number, mostBytes?: number): { client: ClosingClient, publisher: CommandQueue } {
  const client = new ClosingClient()
  const options = { owned: false, timeoutMs, log: silentLogger, ...mostBytes !== undefined && { mostBytes } }
  return { client, publisher: new CommandQueue(client as unknown as Redis, options) }
}

const publish = (publisher: CommandQueue, n: number, bytes = 0): Promise<unknown> =>
  publisher.send((client) => client.publish('c', Buffer.from(String(n))), { repeatable: true, bytes })

t.test('commands that a closing connection did not accept are sent on the next one, in order', async (t) => {
  const { client, publisher } = open(60_000)
  const published = [publish(publisher, 1), publish(publisher, 2)]
  await new Promise(setImmediate)
  client.status = 'reconnecting'
  published.push(publish(publisher, 3))
  client.writable = true
  client.status = 'ready'
  // Before the queue is notified: the commands that wait are still sent first.
  published.push(publish(publisher, 4))
  client.emit('ready')
  published.push(publish(publisher, 5))
  await Promise.all(published)
  t.same(client.sent, ['1', '2', '3', '4', '5'])
  await publisher.close()
})

t.test('a command that no connection accepts in time is rejected as never sent', async (t) => {
  const { client, publisher } = open(20)
  await t.rejects(publish(publisher, 1), { code: 'RT_PUBLISH_REJECTED' })
  await t.rejects(publisher.sendNow((client) => client.publish('c', '1'), 1), { code: 'RT_PUBLISH_REJECTED' })
  const published = publish(publisher, 1)
  await new Promise(setImmediate)
  // The next connection closes as well.
  client.emit('ready')
  await t.rejects(published, { code: 'RT_PUBLISH_REJECTED' })
  t.same(client.sent, [])
  await publisher.close()
})

t.test('a command that a closing connection did not accept is rejected if the queue has closed', async (t) => {
  const { client, publisher } = open(60_000)
  const published = publish(publisher, 1)
  await publisher.close()
  await t.rejects(published, { code: 'RT_CLOSED' })
  await t.rejects(publish(publisher, 2), { code: 'RT_CLOSED' })
  t.equal(client.listenerCount('ready'), 0)
})

/** How many timers keep the process alive. */
function timers (): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
}

t.test('commands that wait for a connection keep the process alive, sent ones do not', async (t) => {
  const none = timers()
  const { client, publisher } = open(60_000)
  client.writable = true
  const sent = publish(publisher, 1)
  t.equal(timers(), none, 'its connection does')
  await sent
  client.status = 'reconnecting'
  const waiting = publish(publisher, 2)
  t.equal(timers(), none + 1)
  client.status = 'ready'
  client.emit('ready')
  await waiting
  t.equal(timers(), none)
  await publisher.close()
})

t.test('a command that is sent again waits as well, and keeps the process alive', async (t) => {
  const none = timers()
  const { client, publisher } = open(60_000)
  const published = publish(publisher, 1)
  await new Promise(setImmediate)
  client.status = 'reconnecting'
  t.equal(timers(), none + 1)
  client.writable = true
  client.status = 'ready'
  client.emit('ready')
  await published
  t.equal(timers(), none)
  await publisher.close()
})

t.test('a command that is sent again stays before all later ones, whose refusals are ignored', async (t) => {
  const { client, publisher } = open(60_000)
  const refusal = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' })
  const sent: string[] = []
  const send = (name: string, reply: () => Promise<string>): Promise<string> => publisher.send(() => {
    sent.push(name)
    return reply()
  }, { repeatable: true, resend: ({ message }) => message === 'LOST' ? 'all' : undefined })
  let isLost = true
  const first = send('first', async () => {
    if (!isLost) return 'done'
    isLost = false
    throw refusal('LOST')
  })
  const second = send('second', async () => {
    if (sent.length > 2) return 'in order'
    throw refusal('TOOEARLY')
  })
  t.same(await Promise.all([first, second]), ['done', 'in order'])
  t.same(sent, ['first', 'second', 'first', 'second'])
  client.status = 'end'
  await publisher.close()
})

const FULL = {
  code: 'RT_PUBLISH_REJECTED',
  message: /bytes that may wait for it, so await them before you publish more/
}

t.test('beyond a limit of waiting bytes a command is rejected at once, and earlier ones are sent', async (t) => {
  const { client, publisher } = open(60_000, 2 * BYTES_EACH + 100)
  client.status = 'reconnecting'
  const accepted = [publish(publisher, 1, 60), publish(publisher, 2, 40)]
  await t.rejects(publish(publisher, 3), FULL)
  await t.rejects(publish(publisher, 4, 1_000), { message: /^Nothing was published: Redis is not connected/ })
  client.status = 'ready'
  client.writable = true
  await t.rejects(publish(publisher, 5), { message: /^Nothing was published: Redis has not replied/ })
  client.emit('ready')
  await Promise.all(accepted)
  await Promise.all([publish(publisher, 6, 60), publish(publisher, 7, 40)])
  await publish(publisher, 8, 1_000_000)
  t.same(client.sent, ['1', '2', '6', '7', '8'])
  await publisher.close()
})

t.test('commands that were given up make room for later ones', async (t) => {
  const { client, publisher } = open(20, BYTES_EACH)
  client.status = 'reconnecting'
  const first = publish(publisher, 1)
  await t.rejects(publish(publisher, 2), FULL)
  await t.rejects(first, { message: /not connected for 20 ms/ })
  await t.rejects(publish(publisher, 3), { message: /not connected for 20 ms/ })
  await publisher.close()
})

t.test('while Redis is away, up to 64 MiB of publishes wait, and all of them are in the log afterwards', async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.stop())
  const provider = new RedisPubSub({ url: server.url, publishTimeoutMs: 60_000, history: { size: 10_000 } })
  t.teardown(() => provider.close())
  await provider.publish('c', 0)
  await server.kill()
  await until(async () => provider.connected().publisher, (connected) => connected === false)
  const text = 'é'.repeat(30_000)
  const outcomes: Promise<unknown>[] = []
  let isFull = false
  for (let n = 0; !isFull; n++) {
    const published = provider.publish('c', { n, text })
    published.catch(() => { isFull = true })
    outcomes.push(published)
    if (n % 10 === 9) await new Promise(setImmediate)
  }
  const { state } = provider
  const change = { operation: 'set', field: 'f', value: 'x'.repeat(1_000_000), leaseMs: 1_000 } as const
  await t.rejects(Promise.resolve(state?.change('c', change)), FULL)
  await server.restart()
  const settled = await Promise.allSettled(outcomes)
  const rejected = settled.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[]
  t.ok(rejected.length >= 1 && rejected.length <= 64, 'a batch at most, which was being gathered')
  for (const { reason } of rejected) t.match(reason, FULL)
  const accepted = settled.length - rejected.length
  t.ok(accepted * 60_000 < 67_108_864 && accepted * 60_000 > 60_000_000, `${accepted} events`)
  t.equal(await connect(t, server.url).xlen('rt:{c}:s'), accepted)
  await provider.publish('c', 1)
})

t.test('the commands of one turn are one write, but a large one does not wait for the others', async (t) => {
  const { client, publisher } = open(60_000)
  client.writable = true
  const stream = { cork: () => client.sent.push('cork'), uncork: () => client.sent.push('uncork') }
  Object.assign(client, { stream })
  const settled = [publish(publisher, 1), publish(publisher, 2, 100_000), publish(publisher, 3), publish(publisher, 4)]
  await Promise.all(settled)
  await new Promise(setImmediate)
  t.same(client.sent, ['1', '2', 'cork', '3', '4', 'uncork'])
  await publisher.close()
})
