import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { InstanceProcess } from '../support/instance-process.ts'
import { RedisServer } from '../support/redis-server.ts'
import { HoppingClient } from './hopping-client.ts'
import type { Random } from './random.ts'

export type Fault = 'kill instance' | 'freeze instance' | 'cut subscribers' | 'cut publishers' | 'freeze redis' | 'kill redis' | 'drop clients' | 'garbage'

/** A publish that got no answer by now is tried again elsewhere. */
const PATIENCE_MS = 6_000

/** Several instances as processes of their own over one Redis, clients that hop between them, and what goes wrong. */
export class Stage {
  readonly redis: RedisServer
  readonly admin: Redis
  readonly instances: InstanceProcess[]
  readonly clients: HoppingClient[] = []
  /** The ids that publishers were given, by chat. */
  readonly acknowledged = new Map<string, string[]>()
  retries = 0
  readonly #t: Test
  readonly #random: Random
  readonly #env: NodeJS.ProcessEnv

  private constructor (t: Test, random: Random, redis: RedisServer, env: NodeJS.ProcessEnv, instances: InstanceProcess[]) {
    this.#t = t
    this.#random = random
    this.redis = redis
    this.#env = env
    this.instances = instances
    this.admin = new Redis(redis.url, { maxRetriesPerRequest: null })
    this.admin.on('error', () => {})
    t.teardown(() => { this.admin.disconnect() })
  }

  static async start (t: Test, random: Random, { count = 3, redisArgs = [] as string[] } = {}): Promise<Stage> {
    const redis = await RedisServer.start({ args: redisArgs })
    t.teardown(() => redis.stop())
    const env = { REDIS_URL: redis.url, REALTIME: JSON.stringify({ heartbeatMs: 300 }) }
    const instances = await Promise.all(Array.from({ length: count }, () => InstanceProcess.start(t, env)))
    return new Stage(t, random, redis, env, instances)
  }

  /** Opens a chat and resolves once the client has its place in it. */
  async join (chatId: string, signal: AbortSignal): Promise<HoppingClient> {
    const client = new HoppingClient(chatId, () => this.#random.pick(this.instances).url)
    this.#t.teardown(() => client.close())
    this.clients.push(client)
    await client.ready(signal)
    return client
  }

  /** Publishes numbers one after another, each until it is acknowledged, by whichever instance. */
  async publish (chatId: string, by: string, count: number, paceMs: number): Promise<void> {
    for (let n = 1; n <= count; n++) {
      await this.#publishOne(chatId, { by, n })
      await delay(Math.random() * 2 * paceMs)
    }
  }

  async #publishOne (chatId: string, message: { by: string, n: number }): Promise<void> {
    for (;;) {
      try {
        const signal = AbortSignal.timeout(PATIENCE_MS)
        const response = await this.#random.pick(this.instances).post(chatId, message, { key: `${message.by}-${message.n}`, signal })
        const { id } = await response.json() as { id?: string }
        if (response.status === 202 && id !== undefined) {
          this.acknowledged.set(chatId, [...this.acknowledged.get(chatId) ?? [], id])
          return
        }
        if (response.status !== 503) throw new Error(`A publish was answered ${response.status}`)
      } catch (error) {
        if (!(error instanceof TypeError) && !(error instanceof DOMException)) throw error
      }
      this.retries++
      await delay(50)
    }
  }

  /** Does it, and resolves once what is broken has been mended. */
  async suffer (fault: Fault): Promise<void> {
    const index = Math.floor(this.#random.next() * this.instances.length)
    const instance = this.instances[index] as InstanceProcess
    switch (fault) {
      case 'kill instance':
        await instance.kill()
        this.instances[index] = await InstanceProcess.start(this.#t, this.#env)
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
      case 'freeze redis':
        await this.redis.freeze()
        await delay(1_000)
        return this.redis.thaw()
      case 'kill redis':
        await this.redis.kill()
        await delay(300)
        return this.redis.restart()
      case 'drop clients':
        for (const client of this.clients) if (this.#random.next() < 0.5) client.drop()
        return
      case 'garbage':
        for (const { chatId } of this.clients) for (const garbage of GARBAGE) await this.admin.publish(`rt:{chat:${chatId}}`, garbage)
    }
  }
}

/** What is not ours, what a newer version might say, and what lies: a place beyond the end, of another log, or with another tag. */
const GARBAGE = [
  'hello', '', Buffer.from([0, 255, 10, 13]), '2 x 1 2 3 d web 1 message {}', '1 e-0-0 d web', '1 other 5 6 7 d web 1 message {"message":{"by":"liar","n":1}}',
  '1 other 1 2 0 f web 1 fence {}'
]
