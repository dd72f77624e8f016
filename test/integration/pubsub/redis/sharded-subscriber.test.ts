import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import { RedisPubSub } from '../../../../lib/index.ts'
import { RedisCluster } from '../../../support/redis-cluster.ts'

t.test('shard channels move with their slots', async (t) => {
  const redis = await RedisCluster.start()
  t.teardown(() => redis.stop())
  const cluster = new Cluster(redis.addresses)
  t.teardown(() => { cluster.disconnect() })
  // Before the client knows of any slot.
  const pubsub = new RedisPubSub({ client: cluster, sharded: true })
  t.teardown(() => pubsub.close())
  const got: unknown[] = []
  let lives = 0
  let losses = 0
  let heard = (): void => {}
  const unsubscribe = pubsub.follow('c', {
    live () { lives++; heard() },
    lost () { losses++ },
    receive ({ json }) { got.push(JSON.parse(json.toString())); heard() }
  })
  const undone = pubsub.subscribeExact('c', () => {})
  undone()
  undone()
  t.equal(await pubsub.isHealthy(), false, 'no node owns the slot yet')
  const until = async (fulfilled: () => boolean): Promise<void> => {
    while (!fulfilled()) await new Promise<void>((resolve) => { heard = resolve })
  }
  await until(() => lives === 1)
  t.equal(pubsub.connected().subscriber, true)
  while (cluster.status !== 'ready') await delay(10)
  t.same(pubsub.connected(), { publisher: true, subscriber: true })
  await pubsub.publish('c', 'before')
  await until(() => got.length === 1)
  const from = await redis.ownerOf('rt:{c}')
  const to = (await redis.masters()).find((node) => node !== from)
  await redis.moveSlot('rt:{c}', to as NonNullable<typeof to>, () => 0)
  await until(() => lives > 1)
  t.ok(losses > 0)
  await pubsub.publish('c', 'after')
  await until(() => got.includes('after'))
  while (!await pubsub.isHealthy()) await delay(10)
  unsubscribe()
  await pubsub.publish('c', 'unheard')
  t.notOk(got.includes('unheard'))
})
