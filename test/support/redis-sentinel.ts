import { Redis, type SentinelAddress } from 'ioredis'
import { RedisServer } from './redis-server.ts'
import { until } from './until.ts'

/** The name of the group in the Sentinels. */
const NAME = 'main'

/** A Redis with two replicas that three Sentinels watch over, all of them processes of the test's own. */
export class RedisSentinel {
  readonly #servers: RedisServer[]
  readonly #sentinels: RedisServer[]
  /** One connection to each Sentinel, which hears of failovers. */
  readonly #listeners: Redis[]

  private constructor (servers: RedisServer[], sentinels: RedisServer[]) {
    this.#servers = servers
    this.#sentinels = sentinels
    this.#listeners = sentinels.map(({ url }) => new Redis(url))
  }

  /** Resolves once every Sentinel knows of all the others. */
  static async start (): Promise<RedisSentinel> {
    const start = (): Promise<RedisServer> => RedisServer.start({ args: ['--repl-diskless-sync-delay', '0'] })
    const [primary, ...replicas] = [await start(), await start(), await start()] as const
    // Not with an argument: a replica that was promoted would be one again after its restart.
    await Promise.all(replicas.map(async ({ url }) => {
      await untilIt(url, (redis) => redis.replicaof('127.0.0.1', primary.port), (answer) => answer === 'OK')
      await untilIt(url, (redis) => redis.info('replication'), (info) => info.includes('master_link_status:up'))
    }))
    const sentinels = await Promise.all(
      Array.from({ length: 3 }, () => RedisServer.start({ sentinel: config(primary) }))
    )
    const group = new RedisSentinel([primary, ...replicas], sentinels)
    await Promise.all(
      sentinels.map(({ url }) => untilIt(url, (redis) => redis.call('SENTINEL', 'MASTER', NAME), knowsAll))
    )
    await Promise.all(group.#listeners.map((listener) => listener.subscribe('+switch-master')))
    return group
  }

  /** How ioredis finds the group. */
  get options (): { name: string, sentinels: SentinelAddress[] } {
    return { name: NAME, sentinels: this.#sentinels.map(({ port }) => ({ host: '127.0.0.1', port })) }
  }

  /** The primary, as the Sentinels say. */
  async primary (): Promise<RedisServer> {
    const [, port] = await this.#ask<[string, string]>('GET-MASTER-ADDR-BY-NAME')
    return this.#servers.find((server) => server.port === Number(port)) as RedisServer
  }

  /** Makes the Sentinels replace a healthy primary. */
  async failover (): Promise<void> {
    await this.#ask('FAILOVER')
  }

  /** Resolves when the first Sentinel reports a new primary. Call it before the failover. */
  async switched (): Promise<void> {
    await new Promise<void>((resolve) => {
      for (const listener of this.#listeners) listener.once('message', () => resolve())
    })
  }

  async stop (): Promise<void> {
    for (const listener of this.#listeners) listener.disconnect()
    await Promise.all([...this.#sentinels, ...this.#servers].map((server) => server.stop()))
  }

  async #ask<T> (command: string): Promise<T> {
    const redis = new Redis(this.#sentinels[0]?.url as string)
    try {
      return await redis.call('SENTINEL', command, NAME) as T
    } finally {
      redis.disconnect()
    }
  }
}

/**
 * Quick, so that tests are. A Sentinel waits a minute where this says three seconds, and half of one before it takes a
 * Redis for dead.
 */
function config ({ port }: RedisServer): string {
  return [
    `sentinel monitor ${NAME} 127.0.0.1 ${port} 2`,
    `sentinel down-after-milliseconds ${NAME} 500`,
    `sentinel failover-timeout ${NAME} 3000`,
    `sentinel parallel-syncs ${NAME} 2`
  ].join('\n')
}

function knowsAll (reply: unknown): boolean {
  const fields = reply as string[]
  const field = (name: string): string | undefined => fields[fields.indexOf(name) + 1]
  return field('num-slaves') === '2' && field('num-other-sentinels') === '2' && field('flags') === 'master'
}

async function untilIt<T> (
  url: string, ask: (redis: Redis) => Promise<T>, fulfilled: (answer: T) => boolean
): Promise<void> {
  const redis = new Redis(url)
  try {
    await until(() => ask(redis), fulfilled)
  } finally {
    redis.disconnect()
  }
}
