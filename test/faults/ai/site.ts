import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { RedisPubSub, type EventLog } from '../../../lib/index.ts'
import { Gate } from '../../support/gate.ts'
import { InstanceProcess } from '../../support/instance-process.ts'
import { LoadBalancer } from '../../support/load-balancer.ts'
import { startRedis } from '../../support/redis.ts'
import type { RedisServer } from '../../support/redis-server.ts'
import { wholeLog } from '../../support/whole-log.ts'

const SCRIPT = new URL('./instance.js', import.meta.url)

export interface SiteOptions {
  /** How many stages each answer has, and how many words each of them. */
  stages: number
  words?: number
  leaseMs: number
  /** The version of the AI SDK for requests that name none. */
  sdk?: string
}

/** Three instances behind a balancer, over a Redis of their own. */
export class Site {
  readonly #t: Test
  readonly #redis: RedisServer
  readonly #balancer: LoadBalancer
  /** Leads from the readers to the balancer. */
  readonly #gate: Gate
  readonly #env: NodeJS.ProcessEnv
  readonly #instances: InstanceProcess[] = []

  private constructor (t: Test, redis: RedisServer, balancer: LoadBalancer, gate: Gate, options: SiteOptions) {
    const { stages, words = 40, leaseMs, sdk = 'ai7' } = options
    this.#t = t
    this.#redis = redis
    this.#balancer = balancer
    this.#gate = gate
    this.#env = {
      AI: sdk,
      STAGES: `${stages}`,
      WORDS: `${words}`,
      REALTIME: JSON.stringify({ redisUrl: redis.url, retryMs: 100, botMessageLeaseMs: leaseMs })
    }
  }

  static async start (t: Test, options: SiteOptions): Promise<Site> {
    const redis = await startRedis(t)
    const balancer = await LoadBalancer.start(t)
    const gate = await Gate.start(t, Number(new URL(balancer.url).port))
    const site = new Site(t, redis, balancer, gate, options)
    await Promise.all([1, 2, 3].map(() => site.#launch()))
    return site
  }

  /** The address for readers. */
  get url (): string {
    return `http://127.0.0.1:${this.#gate.port}`
  }

  /** The addresses of the instances. */
  get instances (): string[] {
    return this.#instances.map(({ url }) => url)
  }

  async #launch (): Promise<void> {
    const instance = await InstanceProcess.start(this.#t, this.#env, SCRIPT)
    this.#instances.push(instance)
    this.#balancer.add(instance.url)
  }

  /** Kills an instance. Resolves with false if it was killed before. */
  async kill (url: string | undefined): Promise<boolean> {
    const index = this.#instances.findIndex((instance) => instance.url === url)
    const [instance] = index === -1 ? [] : this.#instances.splice(index, 1)
    await instance?.kill()
    return instance !== undefined
  }

  /** Kills an instance, and starts another one in its place. */
  async replace (url: string | undefined): Promise<void> {
    if (await this.kill(url)) await this.#launch()
  }

  /** Cuts the connections of all readers. They can connect again at once. */
  cut (): void {
    this.#gate.shut()
    this.#gate.open()
  }

  /** Disconnects all readers while a function runs. */
  async disconnectedWhile (run: () => Promise<void>): Promise<void> {
    this.#gate.shut()
    await run()
    this.#gate.open()
  }

  /** Freezes Redis for a second. */
  async freezeRedis (): Promise<void> {
    await this.#redis.freeze()
    await delay(1_000)
    await this.#redis.thaw()
  }

  /** The events in the log of a chat. */
  async log (chatId: string): Promise<object[]> {
    const reader = new RedisPubSub({ url: this.#redis.url })
    const log = reader.eventLog as EventLog // It has one unless the history is off.
    const { entries } = await wholeLog(log, `chat:${chatId}`, 1_000)
    await reader.close()
    return entries.map(({ json }) => JSON.parse(json.toString()) as object)
  }
}
