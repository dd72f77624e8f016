import t, { type Test } from 'tap'
import { EventEmitter } from 'node:events'
import { watchConnection } from '../../../../lib/pubsub/redis/connection.ts'
import type { RedisClient } from '../../../../lib/pubsub/redis/client.ts'
import { silentLogger, type Logger } from '../../../../lib/core/logger.ts'
import { FakeTimers } from '../../../support/fake-timers.ts'

interface Watched {
  client: EventEmitter
  timers: FakeTimers
  logged: string[]
  connects: () => number
  unwatch: () => void
}

/** Watches a client without a network. */
function watch (t: Test, status = 'connecting'): Watched {
  const timers = new FakeTimers()
  timers.install()
  t.teardown(() => timers.uninstall())
  let connects = 0
  const client = Object.assign(new EventEmitter(), { status, connect: async () => { connects++ } })
  const logged: string[] = []
  const logger: Logger = {
    ...silentLogger,
    warn: (...args: unknown[]) => { logged.push(String(args[1])) },
    info: (...args: unknown[]) => { logged.push(String(args[1])) }
  }
  // The function uses the events, the status and `connect` only.
  const unwatch = watchConnection(client as unknown as RedisClient, 'test', logger)
  return { client, timers, logged, connects: () => connects, unwatch }
}

/** The error with which ioredis aborts an attempt to connect. */
const ABANDONED = new Error('Connection is closed.')
const LOST = /out of reach/

t.test('a connection that is closed before it was ready is not reported as lost', async (t) => {
  const { client, logged } = watch(t)
  client.emit('close')
  t.same(logged, [])
})

t.test('a ready connection that is closed is reported once, and once again when it is ready', async (t) => {
  const { client, logged } = watch(t, 'ready')
  client.emit('close')
  client.emit('close')
  t.match(logged, [LOST])
  client.emit('ready')
  t.equal(logged.length, 2)
})

t.test('an abandoned connection is opened again; one that the app has disconnected is not', async (t) => {
  const { client, timers, connects } = watch(t, 'ready')
  client.emit('close')
  client.emit('end')
  timers.fire()
  t.equal(connects(), 0, 'disconnected by the app')
  client.emit('error', ABANDONED)
  client.emit('end')
  timers.fire()
  t.equal(connects(), 1)
  client.emit('error', ABANDONED)
  client.emit('close')
  client.emit('end')
  timers.fire()
  t.equal(connects(), 1, 'the attempt was not aborted')
})

t.test('a connection that is not watched any more is left alone', async (t) => {
  const { client, timers, connects, unwatch } = watch(t, 'ready')
  client.emit('error', ABANDONED)
  client.emit('end')
  unwatch()
  timers.fire()
  t.equal(connects(), 0)
  t.same(client.eventNames(), [])
})
