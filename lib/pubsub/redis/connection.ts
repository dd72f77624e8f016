import { Redis, type RedisOptions } from 'ioredis'
import type { Logger } from '../../core/logger.ts'
import { logRecovered, logRepeated, type RecoverableFailure } from '../../observability/repeated-failure.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import { isCluster, type ClusterClient, type RedisClient, type StandaloneClient } from './client.ts'
import { connectorTo, type Address } from './connector.ts'
import { timing } from '../../core/timing.ts'

/** Where to connect: a URL, or a client of the app's to duplicate from. */
export type RedisSource = { url: string, client?: undefined } | { client: RedisClient, url?: undefined }

/**
 * How our own connections behave. Nothing waits inside ioredis: a command that was not sent, or whose reply was lost, fails at
 * once, so that we know which it was. It resubscribes nothing by itself, since a refusal there would be an unhandled rejection.
 */
const behaviour = {
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
  lazyConnect: false,
  socketTimeout: timing.redisSilence,
  connectTimeout: timing.redisSilence,
  // ioredis waits so long for a socket to end, even for one that has: the process would not exit before.
  disconnectTimeout: timing.redisDisconnect,
  retryStrategy: (times: number): number => {
    const longest = Math.min(timing.redisRetryMin * 2 ** Math.min(times, 10), timing.redisRetryMax)
    return longest / 2 + Math.random() * longest / 2
  },
  // A demoted primary: another connection may lead to the new one. Before Redis 7, what a script met stands behind other words.
  reconnectOnError: (error: Error): boolean => error.message.includes('READONLY')
} satisfies RedisOptions

/** Channels have the app's prefix in their names, see RedisKeys. ioredis would put it before those of shards once more. */
const subscribing = { ...behaviour, keyPrefix: '' }

/** Opens the connection that subscribes. */
export function openSubscriber (source: RedisSource): StandaloneClient {
  if (source.url !== undefined) return openUrl(source.url)
  const { client } = source
  if (!isCluster(client)) return client.duplicate(subscribing)
  // On a connection of our own: that of a Cluster is replaced when it breaks, and nobody is told what was lost meanwhile.
  return openNode(client, async () => {
    for (;;) {
      const nodes = client.nodes()
      const node = nodes[Math.floor(Math.random() * nodes.length)]
      if (node !== undefined) return node.options
      await new Promise<void>((resolve) => client.once('+node', () => resolve()))
    }
  })
}

/** Opens a connection that subscribes at one node of a Cluster, such as `127.0.0.1:7000`. */
export function openShardSubscriber (cluster: ClusterClient, node: string): Redis {
  const colon = node.lastIndexOf(':')
  return openNode(cluster, async () => ({ host: node.slice(0, colon), port: Number(node.slice(colon + 1)) }))
}

function openUrl (url: string): Redis {
  return new Redis(url, { ...behaviour, Connector: connectorTo(async (options) => options) })
}

function openNode (cluster: ClusterClient, pick: () => Promise<Address>): Redis {
  return new Redis({ ...cluster.options.redisOptions, ...subscribing, replyMapping: 'legacy', Connector: connectorTo(pick) })
}

/** The connection that publishes: the app's own client where one was passed in. */
export function openPublisher (source: RedisSource): RedisClient {
  if (source.url !== undefined) return openUrl(source.url)
  // A lazy client connects when it is first asked to; until then it would never become ready.
  if (source.client.status === 'wait') source.client.connect().catch(() => {})
  return source.client
}

/** Opens the connection for large replies. */
export function openReader (source: RedisSource): RedisClient {
  if (source.url !== undefined) return openUrl(source.url)
  const { client } = source
  if (!isCluster(client)) return client.duplicate(behaviour)
  return client.duplicate([], {
    enableOfflineQueue: false,
    lazyConnect: false,
    // A replica may lag behind what was broadcast.
    scaleReads: 'master',
    redisOptions: { ...client.options.redisOptions, ...behaviour, replyMapping: 'legacy' }
  })
}

/** What ioredis says where it was told to end a connection that it is making. */
const CLOSED = 'Connection is closed.'

/**
 * Logs when a connection is lost and when it is back, each once, keeps its errors from going unhandled, and makes it go on where ioredis does not.
 * Returns its undo.
 */
export function watchConnection (client: RedisClient, role: string, log: Logger): () => void {
  const failure: RecoverableFailure = {
    level: 'warn', message: 'Redis is out of reach, trying again', recovered: 'Redis is back'
  }
  let lost = false
  let connected = client.status === 'ready'
  let abandoned = false
  let revival: NodeJS.Timeout | undefined
  const lose = (reason: string): void => {
    lost = true
    logRepeated(log, failure, { connection: role, reason }, reason)
  }
  const onError = (error: Error): void => {
    abandoned = error.message === CLOSED
    lose(describeRedisError(error))
  }
  const onClose = (): void => {
    abandoned = false
    if (connected && !lost) lose('the connection was closed')
    connected = false
  }
  const onReady = (): void => {
    lost = false
    logRecovered(log, failure, { connection: role })
    connected = true
  }
  const onEnd = (): void => {
    // A failover that ioredis hears of from a Sentinel while it connects, it takes for a wish of its owner's. Of a real one it makes no error.
    if (abandoned) revival = setTimeout(() => { client.connect().catch(() => {}) }, timing.redisRetryMin)
  }
  client.on('error', onError)
  client.on('close', onClose)
  client.on('ready', onReady)
  client.on('end', onEnd)
  return () => {
    clearTimeout(revival)
    client.off('error', onError)
    client.off('close', onClose)
    client.off('ready', onReady)
    client.off('end', onEnd)
  }
}

/** What may be said of an error of Redis. Its other fields, and what follows these words, hold passwords and payloads. */
export function describeRedisError (error: Error): string {
  if ('code' in error && typeof error.code === 'string') return error.code
  return error.message.replace(/,? with args beginning with[^]*/, '')
}

/** Closes a connection of ours: politely while it answers, else at once. Never waits longer than `timing.redisQuit`. */
export async function closeConnection (client: RedisClient, unwatch: () => void): Promise<void> {
  unwatch()
  client.on('error', () => {})
  if (client.status === 'ready') {
    await withTimeout(client.quit(), timing.redisQuit).catch(() => {})
  }
  // Also after a quit, which may never end while ioredis reconnects.
  client.disconnect()
}
