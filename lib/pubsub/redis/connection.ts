import { Redis, type RedisOptions } from 'ioredis'
import type { Logger } from '../../core/logger.ts'
import { logRecovered, logRepeated, type RecoverableFailure } from '../../observability/repeated-failure.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import { isCluster, type ClusterClient, type RedisClient, type StandaloneClient } from './client.ts'
import { connectorTo, type Address } from './connector.ts'
import { timing } from '../../core/timing.ts'

/** Source of the connections: a URL, or a client of the app to duplicate. */
export type RedisSource = { url: string, client?: undefined } | { client: RedisClient, url?: undefined }

/**
 * Options for the connections that the plugin opens. ioredis queues nothing: a command that was not sent, or whose
 * reply was lost, fails at once, so that the plugin can distinguish the two cases. ioredis does not resubscribe by
 * itself, because a refused resubscription would be an unhandled rejection.
 */
const behaviour = {
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
  lazyConnect: false,
  socketTimeout: timing.redisSilence,
  connectTimeout: timing.redisSilence,
  // ioredis waits this long for a socket to end, even if it has already ended. The process cannot exit before that.
  disconnectTimeout: timing.redisDisconnect,
  retryStrategy: (times: number): number => {
    const longest = Math.min(timing.redisRetryMin * 2 ** Math.min(times, 10), timing.redisRetryMax)
    return longest / 2 + Math.random() * longest / 2
  },
  // READONLY comes from a demoted primary; a new connection may reach the new primary. Searches the whole message,
  // because before Redis 7 other words precede an error that was raised inside a script.
  reconnectOnError: (error: Error): boolean => error.message.includes('READONLY')
} satisfies RedisOptions

/** Channel names already contain the app's prefix (see `RedisKeys`). ioredis would add it again to shard channels. */
const subscribing = { ...behaviour, keyPrefix: '' }

/** Opens the subscriber connection. */
export function openSubscriber (source: RedisSource): StandaloneClient {
  if (source.url !== undefined) return openUrl(source.url)
  const { client } = source
  if (!isCluster(client)) return client.duplicate(subscribing)
  // A separate connection, since a Cluster replaces its own broken subscriber connection without reporting it.
  return openNode(client, async () => {
    for (;;) {
      const nodes = client.nodes()
      const node = nodes[Math.floor(Math.random() * nodes.length)]
      if (node !== undefined) return node.options
      await new Promise<void>((resolve) => client.once('+node', () => resolve()))
    }
  })
}

/** Opens a subscriber connection to one node of a Cluster, such as `127.0.0.1:7000`. */
export function openShardSubscriber (cluster: ClusterClient, node: string): Redis {
  const colon = node.lastIndexOf(':')
  return openNode(cluster, async () => ({ host: node.slice(0, colon), port: Number(node.slice(colon + 1)) }))
}

function openUrl (url: string): Redis {
  return new Redis(url, { ...behaviour, Connector: connectorTo(async (options) => options) })
}

function openNode (cluster: ClusterClient, pick: () => Promise<Address>): Redis {
  return new Redis({
    ...cluster.options.redisOptions,
    ...subscribing,
    replyMapping: 'legacy',
    Connector: connectorTo(pick)
  })
}

/** Opens the publisher connection, or returns the app's client if one was passed in. */
export function openPublisher (source: RedisSource): RedisClient {
  if (source.url !== undefined) return openUrl(source.url)
  // A client with `lazyConnect` never becomes ready unless it is connected explicitly.
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
    // A replica may lag behind events that were already broadcast.
    scaleReads: 'master',
    redisOptions: { ...client.options.redisOptions, ...behaviour, replyMapping: 'legacy' }
  })
}

/** The error message of ioredis if a connection attempt is aborted with `disconnect()`. */
const CLOSED = 'Connection is closed.'

/**
 * An `abandoned` connection was lost, and ioredis does not reconnect it: if Sentinel reports a failover during a
 * connection attempt, ioredis aborts the attempt as if the app had called `disconnect()`. A `disconnect()` by the app
 * emits no error, so the two can be distinguished.
 */
type ConnectionState = 'connecting' | 'ready' | 'lost' | 'abandoned'

/**
 * Logs once when a connection is lost and once when it is restored. Handles the `error` event, and reconnects an
 * abandoned connection. Returns a function that removes the listeners.
 */
export function watchConnection (client: RedisClient, role: string, log: Logger): () => void {
  const failure: RecoverableFailure = {
    level: 'warn', message: 'Redis is out of reach, trying again', recovered: 'Redis is back'
  }
  let state: ConnectionState = client.status === 'ready' ? 'ready' : 'connecting'
  let revival: NodeJS.Timeout | undefined
  const lose = (reason: string, lost: 'lost' | 'abandoned' = 'lost'): void => {
    state = lost
    logRepeated(log, failure, { connection: role, reason }, reason)
  }
  const onError = (error: Error): void => {
    lose(describeRedisError(error), error.message === CLOSED ? 'abandoned' : 'lost')
  }
  const onClose = (): void => {
    if (state === 'ready') lose('the connection was closed')
    // After `close`, ioredis reconnects by itself, unless the app has turned that off.
    else if (state === 'abandoned') state = 'lost'
  }
  const onReady = (): void => {
    state = 'ready'
    logRecovered(log, failure, { connection: role })
  }
  const onEnd = (): void => {
    if (state === 'abandoned') revival = setTimeout(() => { client.connect().catch(() => {}) }, timing.redisRetryMin)
  }
  const listen = (method: 'on' | 'off'): void => {
    client[method]('error', onError)
    client[method]('close', onClose)
    client[method]('ready', onReady)
    client[method]('end', onEnd)
  }
  listen('on')
  return () => {
    clearTimeout(revival)
    listen('off')
  }
}

/** Returns whether the error is a reply of Redis. In that case Redis did not apply the command. */
export function isReply (error: Error): boolean {
  return error.name === 'ReplyError'
}

/** Returns whether ioredis refused to send the command, because the connection is closing. */
export function neverLeft (error: Error): boolean {
  return error.message.startsWith('Stream isn\'t writeable')
}

/**
 * Returns the part of a Redis error that is safe to log. The rest of the message and the other fields of the error can
 * contain passwords and payloads.
 */
export function describeRedisError (error: Error): string {
  if ('code' in error && typeof error.code === 'string') return error.code
  return error.message.replace(/,? with args beginning with[^]*/, '')
}

/** Closes a connection: with QUIT if it is ready, otherwise at once. Waits for `timing.redisQuit` at most. */
export async function closeConnection (client: RedisClient, unwatch: () => void): Promise<void> {
  unwatch()
  client.on('error', () => {})
  if (client.status === 'ready') {
    await withTimeout(client.quit(), timing.redisQuit).catch(() => {})
  }
  // Also needed after QUIT, which may never settle while ioredis reconnects.
  client.disconnect()
}
