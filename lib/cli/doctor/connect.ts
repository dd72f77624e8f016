import { Redis, type Cluster, type RedisOptions } from 'ioredis'
import { timing } from '../../core/timing.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import { describeRedisError } from '../../pubsub/redis/connection.ts'
import { openClient, type ClientOptions, type Target } from '../target.ts'

/** ioredis does not try again, and each command is bounded: a frozen Redis must not stop the doctor. */
const once: ClientOptions = {
  lazyConnect: true,
  retryStrategy: () => null,
  maxRetriesPerRequest: 0,
  autoResubscribe: false,
  connectTimeout: timing.redisSilence,
  commandTimeout: timing.redisSilence,
  disconnectTimeout: timing.redisDisconnect
}

/** Connects to a target. Rejects with the reason; `client` must be disconnected in both cases. */
export function openOnce (target: Target): Redis | Cluster {
  const sentinel = target.kind === 'sentinel' ? { sentinelRetryStrategy: () => null } : {}
  return openClient(target, { ...once, ...sentinel }, { clusterRetryStrategy: () => null })
}

/** Returns a client of one node, with the login of another client. */
export function openNode (options: RedisOptions): Redis {
  return new Redis({ ...options, ...once, replyMapping: 'legacy' })
}

/** Resolves once a client is connected. Rejects with the reason, not with the one that ioredis gives. */
export async function connect (client: Redis | Cluster): Promise<void> {
  let reason: Error | undefined
  client.on('error', (error: Error) => { reason = error })
  try {
    await withTimeout(client.connect(), timing.redisSilence)
  } catch (error) {
    throw reason ?? error
  }
}

/** Returns the reason of a failure, without a password. */
export function reasonOf (error: unknown): string {
  return describeRedisError(error as Error) // ioredis rejects with an Error.
}

/** Patterns of reasons, and what mends them. */
const fixes: readonly (readonly [RegExp, string])[] = [
  [/WRONGPASS|NOAUTH|invalid password/, 'Correct the user and the password.'],
  [/no reply|timed out|ETIMEDOUT/, 'Redis, or something at this address, accepts connections and does not answer. ' +
    'Look whether its process is stopped or busy, and whether it speaks TLS (rediss://).'],
  [/SSL|TLS|CERT|SELF_SIGNED|ECONNRESET|Connection is closed/, 'Use rediss:// or --tls if Redis speaks TLS, else ' +
    'redis://. For a certificate of your own, set NODE_EXTRA_CA_CERTS. In a Cluster, look at CLUSTER INFO.'],
  [/slots cache/, 'None of these nodes answers: start them, or correct the addresses, the user and the password.'],
  [/No such master/, 'The Sentinels know no primary of this name: correct --name. SENTINEL MASTERS lists them.'],
  [/unknown command .?sentinel/i, 'This is no Sentinel: correct its port (often 26379), or use --redis.'],
  [/NOPERM/, 'Give the user the rights that docs/reference.md lists.'],
  [/cluster support disabled/, 'This is no Cluster: use --redis.']
]

/** Returns what mends a failure, or `undefined` if its reason says too little. */
export function knownFix (reason: string): string | undefined {
  return fixes.find(([pattern]) => pattern.test(reason))?.[1]
}

export function fixFor (reason: string): string {
  return knownFix(reason) ?? 'Start Redis at this address, or correct the address.'
}
