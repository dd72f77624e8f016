import { Cluster, Redis, type ClusterOptions, type RedisOptions } from 'ioredis'
import type { RedisSource } from '../pubsub/redis/connection.ts'
import { checkRedisUrl } from '../pubsub/redis/url.ts'
import { UsageError } from './usage.ts'

/** What a command may set. ioredis has types for other replies, which nothing here uses. */
export type ClientOptions = RedisOptions & { replyMapping?: 'legacy' }

export interface Address { host: string, port: number }

/** A Redis that a command uses. */
export interface Target {
  kind: 'standalone' | 'cluster' | 'sentinel'
  /** Of a single server, with its login. */
  url: string
  /** The nodes of a Cluster, or the Sentinels. */
  nodes: Address[]
  /** The name of the primary in the Sentinels. */
  name: string
  /** The login of the nodes. */
  login: ClientOptions
}

/** The options of a command line that choose a Redis. */
export const targetOptions = {
  redis: { type: 'string' },
  cluster: { type: 'string' },
  sentinel: { type: 'string' },
  name: { type: 'string' },
  tls: { type: 'boolean' }
} as const

interface TargetValues {
  redis?: string | undefined
  cluster?: string | undefined
  sentinel?: string | undefined
  name?: string | undefined
  tls?: boolean | undefined
}

/** Returns the Redis that the options choose. Throws a `UsageError` or `RT_REDIS_URL_INVALID`. */
export function chooseTarget (values: TargetValues, env: NodeJS.ProcessEnv): Target {
  const { redis, cluster, sentinel, name, tls } = values
  if ([redis, cluster, sentinel].filter((given) => given !== undefined).length > 1) {
    throw new UsageError('Give one of --redis, --cluster and --sentinel.')
  }
  const login: ClientOptions = {
    ...env.REDIS_USERNAME !== undefined && { username: env.REDIS_USERNAME },
    ...env.REDIS_PASSWORD !== undefined && { password: env.REDIS_PASSWORD },
    ...env.SENTINEL_PASSWORD !== undefined && { sentinelPassword: env.SENTINEL_PASSWORD },
    ...tls === true && { tls: {}, enableTLSForSentinelMode: true }
  }
  const common = { url: '', name: '', login }
  if (cluster !== undefined) return { ...common, kind: 'cluster', nodes: parseNodes('cluster', cluster) }
  if (sentinel !== undefined) {
    if (name === undefined) throw new UsageError('--sentinel needs --name: the name of the primary in the Sentinels.')
    return { ...common, kind: 'sentinel', nodes: parseNodes('sentinel', sentinel), name }
  }
  const url = redis ?? env.REDIS_URL
  if (url === undefined) throw new UsageError('Set REDIS_URL, or give --redis, --cluster or --sentinel.')
  return { ...common, kind: 'standalone', nodes: [], url: checkRedisUrl(url) }
}

function parseNodes (option: string, text: string): Address[] {
  return text.split(',').map((node) => {
    const [, host, port] = /^\[?([\w.:-]+?)\]?:(\d{1,5})$/.exec(node) ?? []
    if (host === undefined) throw new UsageError(`--${option} must be host:port,host:port.`)
    return { host, port: Number(port) }
  })
}

/** Returns a text that names the target and holds no password. */
export function describeTarget (target: Target): string {
  if (target.kind === 'standalone') {
    const url = new URL(target.url)
    if (url.password !== '') url.password = '***'
    return url.href
  }
  const nodes = target.nodes.map(addressOf).join(', ')
  return target.kind === 'cluster' ? `Cluster of ${nodes}` : `${target.name} of the Sentinels ${nodes}`
}

export function addressOf ({ host, port }: { [Key in keyof Address]?: Address[Key] | undefined }): string {
  return `${host}:${port}`
}

/** Returns a client that is not connected yet. */
export function openClient (
  target: Target, options: ClientOptions = {}, clusterOptions: ClusterOptions = {}
): Redis | Cluster {
  const lazy = { lazyConnect: true, ...options }
  if (target.kind === 'standalone') return new Redis(target.url, lazy)
  const { nodes, login } = target
  if (target.kind === 'cluster') {
    return new Cluster(nodes, { lazyConnect: true, ...clusterOptions, redisOptions: { ...login, ...options } })
  }
  return new Redis({ ...lazy, ...login, sentinels: nodes, name: target.name })
}

/** Returns the source of a provider, and a function that closes it after the provider. */
export function openSource (target: Target): { source: RedisSource, close (): void } {
  if (target.kind === 'standalone') return { source: { url: target.url }, close () {} }
  const client = openClient(target)
  client.on('error', () => {})
  return { source: { client }, close: () => client.disconnect() }
}
