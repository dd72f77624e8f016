import { Command } from 'ioredis'
import { withTimeout } from '../../core/with-timeout.ts'
import { makeEnvelope } from '../publisher.ts'
import { newEpoch, randomTag } from '../cursor.ts'
import type { HealthReport } from '../provider.ts'
import type { RedisKeys } from './keys.ts'
import type { CommandQueue } from './command-queue.ts'
import type { ReadConnection } from './read-connection.ts'
import type { Script } from './scripts.ts'
import { timing } from '../../core/timing.ts'
import { encodePayload } from '../wire.ts'

interface HealthCheckOptions {
  /** Keys in a namespace that the app's channels cannot use. */
  keys: RedisKeys
  publisher: CommandQueue
  subscriber: { isHealthy (): Promise<boolean> }
  /** The connection for large replies. `undefined` if history is off. */
  reading: ReadConnection | undefined
  /** The script that publishes a probe. `undefined` if history is off, since events are then only broadcast. */
  script: Script | undefined
  /** Whether to broadcast with SPUBLISH to shard channels. */
  sharded: boolean
  instanceId: string
}

/**
 * Checks whether messages can be published and received. Each check pings every open connection. Every few seconds a
 * check also publishes a probe. The probe needs the same commands, rights, memory and replicas as an event of the app,
 * as well as the commands for reading, bot messages and presence. Its channel has no subscribers. In a Cluster, a probe
 * tests one node, which is chosen at random each time.
 */
export class HealthCheck {
  readonly #options: HealthCheckOptions
  #current: Promise<HealthReport> | undefined
  #proof: Promise<void> | undefined
  /** The `performance.now()` time of the last successful probe. */
  #provedAt = -Infinity

  constructor (options: HealthCheckOptions) {
    this.#options = options
  }

  /** Concurrent calls share one check, so that checks do not pile up if Redis is frozen. Never rejects. */
  check (): Promise<HealthReport> {
    this.#current ??= withTimeout(this.#check(), timing.healthTimeout)
      .catch((error: Error) => explain(error.message)) // Every rejection here is an Error.
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
    // One probe at a time, even if the previous check has timed out while its probe is still pending.
    this.#proof ??= this.#probe().finally(() => { this.#proof = undefined })
    await this.#proof
    this.#provedAt = performance.now()
  }

  async #probe (): Promise<void> {
    const channel = `probe:${randomTag()}`
    if (this.#options.script === undefined) await this.#broadcast(channel)
    // The first probe on a connection sends the whole script with EVAL. A second one tests EVALSHA, as used for events.
    else if (await this.#append(channel, this.#options.script)) await this.#append(channel, this.#options.script)
  }

  async #broadcast (channel: string): Promise<void> {
    const { keys, publisher, sharded } = this.#options
    const args = [keys.channel(channel), '']
    // A raw Command, since the channel name already contains the client's prefix: see `RedisPubSub`.
    const publish = (): Command => new Command(sharded ? 'spublish' : 'publish', args)
    await publisher.send((client) => client.sendCommand(publish()) as Promise<unknown>, { repeatable: true })
  }

  /** Returns whether the whole script was sent, with EVAL. */
  async #append (name: string, script: Script): Promise<boolean> {
    const { keys, publisher, instanceId } = this.#options
    const { channel, meta, stream, batch, fields, leases } = keys.of(name)
    const payload = encodePayload(makeEnvelope(0, instanceId, Infinity))
    // The two zeros: no batch before this one, and no batch with an unknown outcome.
    const args = [newEpoch(), '0', '0', channel, '-', String(randomTag()), payload]
    const scriptKeys = [`${batch}${randomTag()}`, meta, stream, fields, leases]
    const call = script.call()
    const resend = (error: Error): 'all' | undefined => call.isForgotten(error) ? 'all' : undefined
    const appended = publisher.send(
      (client) => call.send(client, scriptKeys, args), { repeatable: true, resend }
    ) as Promise<[Buffer]> // The reply of lua/probe.lua.
    // DEL is not part of the script: after a write command such as DEL, Redis no longer refuses the writes of a script
    // if its memory is full, and the probe would not notice that. DEL is sent without waiting for the reply of the
    // script, because a script that fails midway also leaves keys.
    const cleared = publisher.send((client) => {
      const clear = new Command('del', scriptKeys, { keyPrefix: client.options.keyPrefix ?? '' })
      return client.sendCommand(clear) as Promise<unknown>
    }, { repeatable: true })
    const [[trouble]] = await Promise.all([appended, cleared])
    // The probe was appended to the log but could not be broadcast.
    if (trouble.length > 0) throw new Error(trouble.toString())
    return call.isWhole
  }
}

const RIGHTS = 'Give it the rights that docs/reference.md lists.'

/** Public message for each error code. The messages of Redis stay private: they can contain keys and payloads. */
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

/** Patterns that match the NOPERM messages of all Redis versions for missing rights to keys or channels. */
const refusals: readonly (readonly [RegExp, string])[] = [
  [/\baccess\b.*\bkeys?\b/, 'use keys that begin with keyPrefix'],
  [/\b(access|publish)\b.*\bchannels?\b/, 'publish to channels that begin with keyPrefix']
]

function unhealthy (code: keyof typeof sentences): HealthReport {
  return { healthy: false, error: { code, message: sentences[code] } }
}

/** Returns the report for a failed check, derived from the error message of Redis or ioredis. */
function explain (trouble: string): HealthReport {
  const command = /run the '([\w|]+)' command/.exec(trouble)?.[1]
  const refused = command === undefined ? refusals.find(([said]) => said.test(trouble))?.[1] : `run '${command}'`
  if (refused !== undefined) {
    return { healthy: false, error: { code: 'NOPERM', message: `The Redis user may not ${refused}. ${RIGHTS}` } }
  }
  if (/not connected|isn't writeable|Connection is closed/.test(trouble)) return unhealthy('UNREACHABLE')
  const codes = Object.keys(sentences) as (keyof typeof sentences)[] // Object.keys returns string[].
  return unhealthy(codes.find((code) => new RegExp(`\\b${code}\\b`).test(trouble)) ?? 'UNAVAILABLE')
}
