import t from 'tap'
import { EventEmitter } from 'node:events'
import type { Redis } from 'ioredis'
import { silentLogger } from '../../lib/logger.ts'
import { RedisPublisher } from '../../lib/pubsub/redis-publisher.ts'

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

function open (timeoutMs: number): { client: ClosingClient, publisher: RedisPublisher } {
  const client = new ClosingClient()
  return { client, publisher: new RedisPublisher(client as unknown as Redis, { owned: false, timeoutMs, log: silentLogger }) }
}

const publish = (publisher: RedisPublisher, n: number): Promise<unknown> => publisher.send((client) => client.publish('c', Buffer.from(String(n))), { repeatable: true })

t.test('what a closing connection did not take is sent by the next one, in order', async (t) => {
  const { client, publisher } = open(60_000)
  const published = [publish(publisher, 1), publish(publisher, 2)]
  await new Promise(setImmediate)
  client.status = 'reconnecting'
  published.push(publish(publisher, 3))
  client.writable = true
  client.status = 'ready'
  // Before the publisher is told: what waits still goes first.
  published.push(publish(publisher, 4))
  client.emit('ready')
  published.push(publish(publisher, 5))
  await Promise.all(published)
  t.same(client.sent, ['1', '2', '3', '4', '5'])
  await publisher.close()
})

t.test('what no connection takes in time is rejected as never sent', async (t) => {
  const { client, publisher } = open(20)
  await t.rejects(publish(publisher, 1), { code: 'RT_PUBLISH_REJECTED' })
  await t.rejects(publisher.sendNow((client) => client.publish('c', '1')), { code: 'RT_PUBLISH_REJECTED' })
  const published = publish(publisher, 1)
  await new Promise(setImmediate)
  // The next connection closes as well.
  client.emit('ready')
  await t.rejects(published, { code: 'RT_PUBLISH_REJECTED' })
  t.same(client.sent, [])
  await publisher.close()
})

t.test('what a closing connection did not take is rejected where the publisher was closed meanwhile', async (t) => {
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

t.test('the process is kept alive by what waits for a connection, not by what was sent', async (t) => {
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

t.test('what is sent again waits as well, and keeps the process alive', async (t) => {
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
