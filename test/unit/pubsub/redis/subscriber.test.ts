import t from 'tap'
import { EventEmitter, once } from 'node:events'
import type { Redis } from 'ioredis'
import { silentLogger } from '../../../../lib/core/logger.ts'
import { Subscriber } from '../../../../lib/pubsub/redis/subscriber.ts'

/** A client in the moment that no real one can be held in: connected by its status, its socket no longer writable. */
class ClosingClient extends EventEmitter {
  status = 'ready'
  writable = false

  /** The next reply to SUBSCRIBE, if it is an error. */
  refusal: Error | undefined

  async subscribe (...channels: string[]): Promise<number> {
    this.emit('asked', channels)
    const { refusal } = this
    this.refusal = undefined
    if (refusal !== undefined) throw refusal
    if (!this.writable) throw new Error('Stream isn\'t writeable and enableOfflineQueue options is false')
    return channels.length
  }

  async unsubscribe (): Promise<void> {}
  disconnect (): void {}
  async quit (): Promise<void> {}
  async ping (): Promise<void> {}
}

t.test('a subscription that a closing connection did not accept is requested on the next one', async (t) => {
  const client = new ClosingClient()
  const reported = new EventEmitter()
  const subscriber = new Subscriber(client as unknown as Redis, {
    message () {},
    patternMessage () {},
    live: (channel) => reported.emit('live', channel),
    lost: () => reported.emit('lost')
  }, silentLogger)
  t.teardown(() => subscriber.close())
  client.emit('ready')
  const asked = once(client, 'asked')
  subscriber.subscribe('c')
  t.same(await asked, [['c']])
  await new Promise(setImmediate)
  t.equal(await subscriber.isHealthy(), true)
  t.equal(subscriber.isLive('c'), false)
  const live = once(reported, 'live')
  client.emit('close')
  client.writable = true
  client.emit('ready')
  t.same(await live, ['c'])
})

t.test('when a slot has moved away, all channels of that node are subscribed to again', async (t) => {
  // Without a socket, nothing else keeps this process alive.
  const awake = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(awake))
  const client = new ClosingClient()
  client.writable = true
  const reported: string[] = []
  const subscriber = new Subscriber(client as unknown as Redis, {
    message () {},
    patternMessage () {},
    live: (channel) => reported.push(`live ${channel}`),
    lost: (channels) => reported.push(`lost ${channels}`)
  }, silentLogger)
  t.teardown(() => subscriber.close())
  client.emit('ready')
  const unsubscribe = subscriber.subscribe('gone')
  subscriber.subscribe('c')
  await once(client, 'asked')
  await new Promise(setImmediate)
  unsubscribe()
  const again = once(client, 'asked')
  for (let slot = 0; slot < 3; slot++) client.emit('moved')
  t.same(await again, [['c']])
  await new Promise(setImmediate)
  t.same(reported, ['live gone', 'live c', 'lost c', 'live c'])
})

t.test('a channel that is refused while its slot moves is requested again, and nothing is logged', async (t) => {
  const awake = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(awake))
  const client = new ClosingClient()
  client.writable = true
  client.refusal = Object.assign(new Error('MOVED 1 127.0.0.1:7000'), { name: 'ReplyError' })
  const reported = new EventEmitter()
  const log = { ...silentLogger, error: () => t.fail('it is logged') }
  const subscriber = new Subscriber(client as unknown as Redis, {
    message () {}, patternMessage () {}, live: (channel) => reported.emit('live', channel), lost () {}
  }, log)
  t.teardown(() => subscriber.close())
  client.emit('ready')
  const live = once(reported, 'live')
  subscriber.subscribe('c')
  t.same(await live, ['c'])
})
