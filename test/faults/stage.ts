import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Test } from 'tap'
import type { RealtimeOptions } from '../../lib/index.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { client, startRedis } from '../support/redis.ts'
import type { RedisServer } from '../support/redis-server.ts'
import { Crowd } from './crowd.ts'
import type { Random } from './random.ts'

export type Fault =
  'kill instance' | 'freeze instance' | 'cut subscribers' | 'cut publishers' | 'mute publishers' | 'freeze redis' |
  'kill redis' | 'save redis' | 'fall back' |
  'drop clients' | 'slow clients' | 'garbage'

/** The events published at once to a chat whose clients do not read, until one of the clients is cut. */
const BURST = 30
const BURST_BYTES = 60_000

/** A crowd over one Redis, and the faults that hit them. */
export class Stage extends Crowd {
  readonly redis: RedisServer
  readonly admin: Redis
  /** How many events each burst had. */
  readonly bursts = new Map<string, number>()
  readonly #env: NodeJS.ProcessEnv

  private constructor (
    t: Test, random: Random, redis: RedisServer, env: NodeJS.ProcessEnv, instances: InstanceProcess[]
  ) {
    super(t, random, instances)
    this.redis = redis
    this.#env = env
    this.admin = client(t, redis.url, { maxRetriesPerRequest: null })
  }

  static async start (t: Test, random: Random, {
    count = 3,
    redisArgs = [] as string[],
    realtime = {} as RealtimeOptions,
    env: more = {} as NodeJS.ProcessEnv
  } = {}): Promise<Stage> {
    const redis = await startRedis(t, redisArgs)
    const env = { ...more, REDIS_URL: redis.url, REALTIME: JSON.stringify({ heartbeatMs: 300, ...realtime }) }
    const instances = await InstanceProcess.startAll(t, count, env)
    return new Stage(t, random, redis, env, instances)
  }

  /** Asks an instance to close, and starts its successor. Returns its exit code. */
  async replace (index: number): Promise<number | null> {
    const { code } = await (this.instances[index] as InstanceProcess).stop()
    this.instances[index] = await InstanceProcess.start(this.t, this.#env)
    return code
  }

  /** Causes a fault, and resolves once it is repaired. */
  async suffer (fault: Fault): Promise<void> {
    const index = Math.floor(this.random.next() * this.instances.length)
    const instance = this.instances[index] as InstanceProcess
    switch (fault) {
      case 'kill instance':
        await instance.kill()
        this.instances[index] = await InstanceProcess.start(this.t, this.#env)
        return
      case 'freeze instance':
        instance.freeze()
        await delay(2_000)
        return instance.thaw()
      case 'cut subscribers':
        await this.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
        return
      case 'cut publishers':
        await this.admin.call('CLIENT', 'KILL', 'TYPE', 'normal')
        return
      case 'mute publishers':
        // Broadcasts of events appended meanwhile reach no subscriber, while every connection holds.
        await this.admin.call('ACL', 'SETUSER', 'default', '-publish')
        await delay(300)
        await this.admin.call('ACL', 'SETUSER', 'default', '+publish')
        return
      case 'freeze redis':
        await this.redis.freeze()
        await delay(1_000)
        return this.redis.thaw()
      case 'kill redis':
        await this.redis.kill()
        await delay(300)
        return this.redis.restart()
      case 'save redis':
        // A Redis without an append-only file restarts from this.
        await this.admin.call('SAVE')
        return
      case 'fall back':
        return this.#fallBack()
      case 'drop clients':
        for (const client of this.clients) if (this.random.next() < 0.5) client.drop()
        return
      case 'slow clients': {
        const { chatId } = this.random.pick(this.clients)
        const by = `burst ${this.bursts.size + 1}`
        await this.publish(chatId, by, 1, 0)
        const inTime = AbortSignal.timeout(60_000)
        // A client that is still catching up is not cut.
        const affected = this.clients.filter((client) => client.chatId === chatId)
        await Promise.all(affected.map((client) => client.saw(by, 1, inTime)))
        const burst = this.#burst(chatId, by)
        for (const client of this.clients) {
          if (client.chatId === chatId || this.random.next() < 0.5) client.stall(burst)
        }
        return burst
      }
      case 'garbage':
        for (const { chatId } of this.clients) {
          for (const garbage of GARBAGE) await this.admin.publish(`rt:{chat:${chatId}}`, garbage)
        }
    }
  }

  /** Publishes until a client is cut: how much both sides buffer depends on the system. */
  async #burst (chatId: string, by: string): Promise<void> {
    const before = await this.#slow()
    let count = 1
    do {
      await this.publish(chatId, by, BURST, 0, { from: count + 1, text: 'x'.repeat(BURST_BYTES) })
      count += BURST
      this.bursts.set(by, count)
    } while (await this.#slow() === before)
  }

  /** How many clients were cut because they did not keep up. */
  async #slow (): Promise<number> {
    const counts = await Promise.all(this.instances.map(async ({ url }) => {
      return Number(await (await fetch(`${url}/slow`)).text())
    }))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  /**
   * Redis restarts without its last events. One instance has not received them; another one has, and sleeps until other
   * events may have their positions. No client is sent to these two meanwhile.
   */
  async #fallBack (): Promise<void> {
    const all = [...this.instances]
    const [behind, ahead, ...others] = this.random.shuffled(all) as [InstanceProcess, InstanceProcess]
    this.instances.splice(0, all.length, ...others)
    behind.freeze()
    await this.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await this.admin.call('SAVE')
    await delay(500)
    ahead.freeze()
    await this.redis.kill()
    await this.redis.restart()
    await delay(500 + this.random.next() * 1_500)
    behind.thaw()
    ahead.thaw()
    this.instances.splice(0, others.length, ...all)
  }
}

/** Foreign messages, one of a newer version, and false positions: beyond the end, of another log, with another tag. */
const GARBAGE = [
  'hello', '', Buffer.from([0, 255, 10, 13]), '2 x 1 2 3 d web 1 message {}', '1 e-0-0 d web',
  '1 other 5 6 7 d web 1 message {"message":{"by":"liar","n":1}}',
  '1 other 1 2 0 f web 1 fence {}'
]
