import { setTimeout as delay } from 'node:timers/promises'
import type { BrowserContext } from 'playwright-core'
import type { Test } from 'tap'
import { RedisPubSub, type BotMessagePiece, type EventLog } from '../../lib/index.ts'
import { Gate } from '../support/gate.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { LoadBalancer } from '../support/load-balancer.ts'
import { startRedis } from '../support/redis.ts'
import type { RedisServer } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { wholeLog } from '../support/whole-log.ts'
import { bundle, UseChatTab, type Message, type Transport } from './use-chat-tab.ts'

const SCRIPT = new URL('./use-chat-instance.js', import.meta.url)

/** What can happen to a reader while an answer grows. */
export const faults = [
  'its instance is killed', 'its connection is cut', 'Redis is frozen', 'a second tab is opened', 'it is reloaded'
] as const

export type Fault = typeof faults[number]

export interface SiteOptions {
  context: BrowserContext
  /** The version of the AI SDK, in the page and on the instances. */
  version: '5' | '6' | '7'
  transport: Transport
  /** How many stages the answer has. */
  stages: number
  leaseMs: number
}

/** Three instances behind a balancer, over a Redis of their own, and the tabs of one user. */
export class Site {
  readonly tabs: UseChatTab[] = []
  readonly #t: Test
  readonly #redis: RedisServer
  readonly #balancer: LoadBalancer
  /** Leads from the tabs to the balancer. */
  readonly #gate: Gate
  readonly #context: BrowserContext
  readonly #env: NodeJS.ProcessEnv
  readonly #transport: Transport
  readonly #instances: InstanceProcess[] = []
  /** The address of the instance that produces the answer. */
  #producer: string | undefined

  private constructor (t: Test, redis: RedisServer, balancer: LoadBalancer, gate: Gate, options: SiteOptions) {
    this.#t = t
    this.#redis = redis
    this.#balancer = balancer
    this.#gate = gate
    this.#context = options.context
    this.#transport = options.transport
    this.#env = {
      AI: `ai${options.version}`,
      STAGES: `${options.stages}`,
      REALTIME: JSON.stringify({ redisUrl: redis.url, retryMs: 100, botMessageLeaseMs: options.leaseMs })
    }
  }

  static async start (t: Test, options: SiteOptions): Promise<Site> {
    const { context, version, transport } = options
    t.teardown(() => context.close())
    const html = await bundle(version, transport)
    await context.route(({ pathname }) => pathname === '/', (route) => {
      return route.fulfill({ contentType: 'text/html', body: html })
    })
    const redis = await startRedis(t)
    const balancer = await LoadBalancer.start(t)
    const gate = await Gate.start(t, Number(new URL(balancer.url).port))
    const site = new Site(t, redis, balancer, gate, options)
    await Promise.all([1, 2, 3].map(() => site.#launch()))
    return site
  }

  async #launch (): Promise<void> {
    const instance = await InstanceProcess.start(this.#t, this.#env, SCRIPT)
    this.#instances.push(instance)
    this.#balancer.add(instance.url)
  }

  async open (): Promise<UseChatTab> {
    const tab = await UseChatTab.open(this.#context, `http://127.0.0.1:${this.#gate.port}`, this.#transport)
    this.tabs.push(tab)
    return tab
  }

  /** Asks for an answer. */
  async ask (tab: UseChatTab): Promise<void> {
    await tab.ask()
    const asked = await Promise.all(this.#instances.map(async ({ url }) => {
      return { url, produces: await (await fetch(`${url}/produces/general`)).json() as boolean }
    }))
    this.#producer = asked.find(({ produces }) => produces)?.url
  }

  /** Lets the model say the next stage. */
  async release (): Promise<void> {
    await fetch(`${this.#producer}/release/general`, { method: 'POST' })
  }

  /** Disconnects all tabs until the answer has ended. */
  async endMeanwhile (): Promise<void> {
    this.#gate.shut()
    await this.release()
    await until(() => this.ends(), ({ length }) => length === 1)
    this.#gate.open()
  }

  /** The answer as it is without this package. */
  async undisturbed (): Promise<Message> {
    return await (await fetch(`${this.#instances[0]?.url}/undisturbed`)).json() as Message
  }

  async suffer (fault: Fault, tab: UseChatTab): Promise<void> {
    if (fault === 'its instance is killed') {
      await this.#kill(await this.elsewhere(tab))
      await this.#launch()
    } else if (fault === 'its connection is cut') this.#cut()
    else if (fault === 'a second tab is opened') {
      // A browser has six connections to an origin.
      if (this.tabs.length > 1) await this.tabs.pop()?.close()
      await this.open()
    } else if (fault === 'it is reloaded') await tab.reload()
    else {
      await this.#redis.freeze()
      await delay(1_000)
      await this.#redis.thaw()
    }
  }

  /** Resolves with the address of the instance that a tab reads from, once that is not the one that produces. */
  async elsewhere (tab: UseChatTab): Promise<string | undefined> {
    while (tab.instance === this.#producer) {
      const opened = tab.opensStream()
      this.#cut()
      await opened
    }
    return tab.instance
  }

  /** Kills the instance that produces the answer. Resolves with the time. */
  async killProducer (): Promise<number> {
    const at = Date.now()
    await this.#kill(this.#producer)
    return at
  }

  /** Stops the answer through another instance. Resolves with how long it took until the signal aborted. */
  async stop (): Promise<number> {
    const aborted = fetch(`${this.#producer}/aborted/general`)
    const other = this.#instances.find(({ url }) => url !== this.#producer) as InstanceProcess
    const at = Date.now()
    await fetch(`${other.url}/api/chats/general/stop`, { method: 'POST' })
    return await (await aborted).json() as number - at
  }

  /** The ends of bot messages in the log, with their times. */
  async ends (): Promise<(BotMessagePiece & { at: number })[]> {
    const reader = new RedisPubSub({ url: this.#redis.url })
    const { entries } = await wholeLog(reader.eventLog as EventLog, 'chat:general', 1_000) // Only off without history.
    await reader.close()
    return entries.map(({ json, timestamp }) => ({ ...JSON.parse(json.toString()) as BotMessagePiece, at: timestamp }))
  }

  /** Cuts the connections of all tabs. */
  #cut (): void {
    this.#gate.shut()
    this.#gate.open()
  }

  async #kill (url: string | undefined): Promise<void> {
    const index = this.#instances.findIndex((instance) => instance.url === url)
    const [instance] = this.#instances.splice(index, 1) as [InstanceProcess]
    await instance.kill()
  }
}
