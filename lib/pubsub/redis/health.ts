import { Command } from 'ioredis'
import { withTimeout } from '../../core/with-timeout.ts'
import { makeEnvelope } from '../envelope.ts'
import { newEpoch, randomTag } from '../epoch.ts'
import type { HealthReport } from '../provider.ts'
import type { RedisKeys } from './keys.ts'
import type { CommandQueue } from './command-queue.ts'
import type { ReadConnection } from './read-connection.ts'
import type { Script } from './scripts.ts'
import { timing } from '../../core/timing.ts'
import { encodePayload } from '../wire.ts'

export interface RedisHealthOptions {
  /** Names that no channel of an app has. */
  keys: RedisKeys
  publisher: CommandQueue
  subscriber: { isHealthy (): Promise<boolean> }
  /** The connection for large replies. `undefined` where history is off. */
  reading: ReadConnection | undefined
  /** The script that publishes a probe. `undefined` where history is off, and events are only broadcast. */
  script: Script | undefined
  /** Whether to broadcast to the shard's own channel. */
  sharded: boolean
  instanceId: string
}

/**
 * Finds out whether messages get through. It asks each connection every time. Every few seconds it also publishes a
 * probe: that needs the same commands, rights, memory and replicas as an event of the app, and the commands of reading,
 * bot messages and presence. Nothing subscribes to its channel. In a Cluster a probe proves one node, and each probe
 * picks another at random.
 */
export class HealthCheck {
  readonly #options: RedisHealthOptions
  #current: Promise<HealthReport> | undefined
  #proof: Promise<void> | undefined
  /** When a probe last got through, by `performance.now()`. */
  #provedAt = -Infinity

  constructor (options: RedisHealthOptions) {
    this.#options = options
  }

  /** Checks once for all who ask at the same time, so that checks do not pile up on a frozen Redis. Never rejects. */
  check (): Promise<HealthReport> {
    this.#current ??= withTimeout(this.#check(), timing.healthTimeout)
      .catch((error: Error) => explain(error.message)) // All that rejects here is an Error.
      .finally(() => { this.#current = undefined })
    return this.#current
  }

  async #check (): Promise<HealthReport> {
    const { publisher, subscriber, reading } = this.#options
    if (!publisher.isConnected) return unhealthy('UNREACHABLE')
    const [subscribed] = await Promise.all([subscriber.isHealthy(), publisher.ping(), reading?.ping(), this.#prove()])
    return subscribed ? { healthy: true } : unhealthy('UNSUBSCRIBED')
  }

  async #prove (): Promise<void> {
    if (performance.now() - this.#provedAt < timing.healthProbe) return
    // One at a time, also where the check before gave up waiting for it.
    this.#proof ??= this.#probe().finally(() => { this.#proof = undefined })
    await this.#proof
    this.#provedAt = performance.now()
  }

  async #probe (): Promise<void> {
    const channel = `probe:${randomTag()}`
    if (this.#options.script === undefined) await this.#broadcast(channel)
    // The first probe of a connection sends all of the script, as EVAL. Later ones, like later events, are an EVALSHA.
    else if (await this.#append(channel, this.#options.script)) await this.#append(channel, this.#options.script)
  }

  async #broadcast (channel: string): Promise<void> {
    const { keys, publisher, sharded } = this.#options
    const args = [keys.channel(channel), '']
    // As a command of its own, since the name has the client's prefix already: see RedisPubSub.
    const publish = (): Command => new Command(sharded ? 'spublish' : 'publish', args)
    await publisher.send((client) => client.sendCommand(publish()) as Promise<unknown>, { repeatable: true })
  }

  /** Returns whether all of the script was sent. */
  async #append (name: string, script: Script): Promise<boolean> {
    const { keys, publisher, instanceId } = this.#options
    const { channel, meta, stream, batch, fields, leases } = keys.of(name)
    const payload = encodePayload(makeEnvelope(0, instanceId, Infinity))
    // No batch before it, and none that was given up.
    const args = [newEpoch(), '0', '0', channel, '-', String(randomTag()), payload]
    const scriptKeys = [`${batch}${randomTag()}`, meta, stream, fields, leases]
    let cold = false
    const appended = publisher.send((client, isCold) => {
      cold = isCold(script)
      return script.run(client, scriptKeys, args, cold)
    }, { repeatable: true }) as Promise<[Buffer]>
    // An append may need this as well. Not in the script: one that has written is not refused for want of memory. And
    // not only once it has resolved: a script that fails in its midst leaves keys as well.
    const cleared = publisher.send((client) => {
      const clear = new Command('del', scriptKeys, { keyPrefix: client.options.keyPrefix ?? '' })
      return client.sendCommand(clear) as Promise<unknown>
    }, { repeatable: true })
    const [[trouble]] = await Promise.all([appended, cleared])
    // It is in the log, but could not be broadcast.
    if (trouble.length > 0) throw new Error(trouble.toString())
    return cold
  }
}

const RIGHTS = 'Give it the rights that docs/reference.md lists.'

/** What may be said in public, by the code: neither keys nor payloads, which the words of Redis may hold. */
const sentences = {
  UNREACHABLE: 'Redis is not connected.',
  UNSUBSCRIBED: 'Redis has not confirmed all subscriptions.',
  OOM: 'Redis is out of memory. Raise its maxmemory, or free some.',
  NOREPLICAS: 'Redis has fewer replicas than min-replicas-to-write asks for.',
  READONLY: 'Redis is a replica, which takes no writes.',
  MISCONF: 'Redis cannot save its data to disk, and so takes no writes.',
  LOADING: 'Redis is loading its data.',
  BUSY: 'Redis is busy with a script.',
  CLUSTERDOWN: 'A part of the Redis Cluster is down.',
  UNAVAILABLE: 'Redis did not answer in time, or refused a probe.'
}

/** The names that a Redis user may have no rights for, as the versions of Redis say it. */
const refusals: readonly (readonly [RegExp, string])[] = [
  [/\baccess\b.*\bkeys?\b/, 'use keys that begin with keyPrefix'],
  [/\b(access|publish)\b.*\bchannels?\b/, 'publish to channels that begin with keyPrefix']
]

function unhealthy (code: keyof typeof sentences): HealthReport {
  return { healthy: false, error: { code, message: sentences[code] } }
}

/** Why a check failed, from what Redis or ioredis said. */
function explain (trouble: string): HealthReport {
  const command = /run the '([\w|]+)' command/.exec(trouble)?.[1]
  const refused = command === undefined ? refusals.find(([said]) => said.test(trouble))?.[1] : `run '${command}'`
  if (refused !== undefined) {
    return { healthy: false, error: { code: 'NOPERM', message: `The Redis user may not ${refused}. ${RIGHTS}` } }
  }
  if (/not connected|isn't writeable|Connection is closed/.test(trouble)) return unhealthy('UNREACHABLE')
  const codes = Object.keys(sentences) as (keyof typeof sentences)[] // Its keys, in their order.
  return unhealthy(codes.find((code) => new RegExp(`\\b${code}\\b`).test(trouble)) ?? 'UNAVAILABLE')
}
