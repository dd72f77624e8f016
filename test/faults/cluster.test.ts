import t, { type Test } from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import { RedisPubSub } from '../../lib/index.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { RedisCluster, type ClusterNode } from '../support/redis-cluster.ts'
import { Crowd } from './crowd.ts'
import { Random } from './random.ts'
import { judgeCrowd, type CrowdVerdict } from './verdict.ts'
import type { EventLog } from '../../lib/pubsub/event-log.ts'

const CLIENTS = 12

t.setTimeout(150_000)

const cluster = await RedisCluster.start()
t.teardown(() => cluster.stop())
const client = new Cluster(cluster.addresses)
client.on('error', () => {})
t.teardown(() => client.disconnect())
const reader = new RedisPubSub({ client })
t.teardown(() => reader.close())

interface Scene { crowd: Crowd, channel: string, recovered: () => Promise<void> }

for (const sharded of [false, true]) {
  t.test(sharded ? 'with shard channels' : 'with channels that all nodes broadcast', async (t) => {
    const random = new Random()
    t.comment(`SEED=${random.seed}`)
    const realtime = { heartbeatMs: 300, sharded }
    const env = { REDIS_CLUSTER: JSON.stringify(cluster.addresses), REALTIME: JSON.stringify(realtime) }
    const instances = await InstanceProcess.startAll(t, 2, env)

    /**
     * Lets a crowd talk in three chats while a fault hits the owner of the first one. Judges the events of each client.
     */
    const during = async (t: Test, name: string, happen: (scene: Scene) => Promise<void>): Promise<CrowdVerdict> => {
      const chats = ['a', 'b', 'c'].map((chat) => `${name}-${sharded}-${chat}`)
      const [chat] = chats as [string]
      const crowd = new Crowd(t, random, instances)
      const inTime = AbortSignal.timeout(60_000)
      await Promise.all(Array.from({ length: CLIENTS }, (_, n) => {
        return crowd.join(chats[n % chats.length] as string, inTime)
      }))
      const watchers = await Promise.all(instances.map((instance) => crowd.join(chat, inTime, instance)))
      const publishers = chats.map((chatId) => crowd.publishSteadily(chatId, chatId, 40))
      await delay(500 + random.next() * 500)
      await happen({ crowd, channel: `rt:{chat:${chat}}`, recovered: () => crowd.works(chat, watchers, inTime) })
      await delay(500)
      const last = await Promise.all(publishers.map((stop) => stop()))
      const published = new Map(chats.map((chatId, n) => [chatId, last[n] as number]))
      const verdict = await judgeCrowd(crowd, reader.eventLog as EventLog, published, inTime)
      t.comment(JSON.stringify({ published: last, retries: crowd.retries, ...verdict }))
      t.match(verdict, { unreported: 0, astray: 0, losses: 0, duplicates: 0, disorders: 0 })
      for (const client of crowd.clients) client.close()
      return verdict
    }

    await t.test('while a slot moves, no event is lost', async (t) => {
      const verdict = await during(t, 'move', async ({ channel, recovered }) => {
        const home = await cluster.ownerOf(channel)
        const masters = await cluster.masters()
        for (const to of [...random.shuffled(masters.filter((node) => node !== home)), home]) {
          const started = performance.now()
          await cluster.moveSlot(channel, to, () => random.next() * 20)
          const moved = performance.now()
          await recovered()
          const ms = performance.now() - started
          t.comment(`moved within ${Math.round(moved - started)} ms, recovered after ${Math.round(ms)} ms`)
          t.ok(ms < 5_000, 'within 5 s')
        }
      })
      t.match(verdict, { lost: 0, missed: 0 })
      t.same(Object.keys(verdict.resets), ['failover'], 'only discontinuity markers caused resets')
    })

    const kill = async (t: Test, name: string, pick: (channel: string) => Promise<ClusterNode>): Promise<number> => {
      const { lost } = await during(t, name, async ({ channel, recovered }) => {
        const node = await pick(channel)
        // Events acknowledged from here on are lost.
        await node.server.loseReplicas()
        await delay(200)
        const failed = performance.now()
        await node.server.kill()
        await cluster.replaced(node)
        const replaced = performance.now()
        await recovered()
        const ms = performance.now() - failed
        t.comment(`no longer an owner after ${Math.round(replaced - failed)} ms, recovered after ${Math.round(ms)} ms`)
        t.ok(ms < 5_000, 'within 5 s')
        await node.server.restart()
      })
      await cluster.whole()
      return lost
    }

    await t.test('if the owner of a chat is killed, it recovers within 5 s and each loss is reported', async (t) => {
      const lost = await kill(t, 'owner', (channel) => cluster.ownerOf(channel))
      t.ok(lost > 0, 'Redis has lost acknowledged events')
    })

    await t.test('if the node that an instance subscribes at is killed, streams recover within 5 s', {
      skip: sharded && 'it subscribes at the owner'
    }, async (t) => {
      await kill(t, 'listener', async (channel) => {
        const owner = await cluster.ownerOf(channel)
        const listeners = await Promise.all(cluster.nodes.map(async ({ admin }) => {
          return (await admin.call('CLIENT', 'LIST', 'TYPE', 'pubsub') as string).split('\n').length
        }))
        const most = Math.max(...listeners.filter((_, n) => cluster.nodes[n] !== owner))
        return cluster.nodes.find((node, n) => node !== owner && listeners[n] === most) as ClusterNode
      })
    })
  })
}
