import { outsideRequests } from '../../core/async-context.ts'
import type { Logger } from '../../core/logger.ts'
import { logRepeated, type RepeatedFailure } from '../../observability/repeated-failure.ts'
import type { StandaloneClient } from './client.ts'
import { closeConnection, describeRedisError, watchConnection } from './connection.ts'
import { timing } from '../../core/timing.ts'

/** What a subscriber tells its owner. */
export interface SubscriberEvents {
  message (redisChannel: string, message: Buffer): void
  patternMessage (redisPattern: string, redisChannel: string, message: Buffer): void
  /** Redis has confirmed a channel: nothing published from here on is missed. */
  live (redisChannel: string): void
  /** The subscriptions to these channels broke. */
  lost (redisChannels: string[]): void
}

const SUBSCRIBING: RepeatedFailure = { level: 'error', message: 'Redis refuses to subscribe, trying again' }

/** How many names go into one SUBSCRIBE: enough to be quick, few enough not to hold Redis up. */
const BATCH = 500

/** Names of one kind, channels or patterns. */
interface Names {
  /** How many want each. */
  readonly wanted: Map<string, number>
  /** What Redis has confirmed on the connection of now. */
  readonly held: Set<string>
  /** Those of which wanted and held may differ, so that no change costs a walk over all. */
  readonly dirty: Set<string>
  /** What Redis has refused. It is asked again now and then: rights can be given later. */
  readonly refused: Set<string>
  subscribe (names: string[]): Promise<unknown>
  unsubscribe (names: string[]): Promise<unknown>
}

/**
 * Keeps one connection subscribed to what is asked for: counts who wants a name, asks Redis for many in one
 * command, and asks again after every reconnect.
 */
export class Subscriber {
  readonly #client: StandaloneClient
  readonly #events: SubscriberEvents
  readonly #log: Logger
  readonly #patterns: Names
  readonly #channels: Names
  readonly #ping: NodeJS.Timeout
  readonly #unwatch: () => void
  /** Counts connections, so that a confirmation on one that is gone is not taken for one of now. */
  #generation = 0
  #connected = false
  #soon: NodeJS.Immediate | undefined
  #later: NodeJS.Timeout | undefined
  #again: NodeJS.Timeout | undefined
  #syncing = false
  #closed = false

  /** `sharded` subscribes to shard channels, of which the node must own the slots. */
  constructor (client: StandaloneClient, events: SubscriberEvents, log: Logger, { sharded = false } = {}) {
    this.#client = client
    this.#events = events
    this.#log = log
    this.#patterns = names((list) => client.psubscribe(...list), (list) => client.punsubscribe(...list))
    this.#channels = sharded
      // One by one, since those of a command have to be of one slot.
      ? names((list) => Promise.all(list.map((name) => client.ssubscribe(name))), (list) => Promise.all(list.map((name) => client.sunsubscribe(name))))
      : names((list) => client.subscribe(...list), (list) => client.unsubscribe(...list))
    this.#unwatch = watchConnection(client, 'subscriber', log)
    client.on(sharded ? 'smessageBuffer' : 'messageBuffer', (channel: Buffer, message: Buffer) => events.message(channel.toString(), message))
    client.on('pmessageBuffer', (pattern: string, channel: Buffer, message: Buffer) => events.patternMessage(pattern, channel.toString(), message))
    client.on('ready', () => this.#connect())
    client.on('close', () => this.#lose())
    client.on('moved', () => this.#askAgain())
    // A frozen Redis leaves an idle connection open: only an answer that fails to come tells.
    this.#ping = setInterval(() => { if (client.status === 'ready') client.ping().catch(() => {}) }, timing.redisPing)
    this.#ping.unref()
  }

  /** Subscribes to a channel for one more who wants it. Returns its undo. */
  subscribe (redisChannel: string): () => void {
    return this.#want(this.#channels, redisChannel)
  }

  /** Subscribes to a pattern for one more who wants it. Returns its undo. */
  psubscribe (redisPattern: string): () => void {
    return this.#want(this.#patterns, redisPattern)
  }

  get isConnected (): boolean {
    return this.#connected
  }

  /** Whether Redis has confirmed this channel on the connection of now. */
  isLive (redisChannel: string): boolean {
    return this.#channels.held.has(redisChannel)
  }

  /** Whether Redis has refused no subscription. Rejects where it doesn't answer. */
  async isHealthy (): Promise<boolean> {
    await this.#client.ping()
    return this.#patterns.refused.size + this.#channels.refused.size === 0
  }

  async close (): Promise<void> {
    this.#closed = true
    clearInterval(this.#ping)
    clearImmediate(this.#soon)
    clearTimeout(this.#later)
    clearTimeout(this.#again)
    await closeConnection(this.#client, this.#unwatch)
  }

  #want (names: Names, name: string): () => void {
    names.wanted.set(name, (names.wanted.get(name) ?? 0) + 1)
    names.dirty.add(name)
    this.#syncSoon()
    let unsubscribed = false
    return () => {
      if (unsubscribed) return
      unsubscribed = true
      const count = names.wanted.get(name) as number
      if (count > 1) names.wanted.set(name, count - 1)
      else names.wanted.delete(name)
      names.dirty.add(name)
      this.#syncSoon()
    }
  }

  /** At the end of this turn of the event loop, so that what one turn asks for goes out together. */
  #syncSoon (): void {
    if (this.#closed || this.#soon !== undefined) return
    this.#soon = outsideRequests(() => setImmediate(() => {
      this.#soon = undefined
      this.#sync()
    }))
  }

  #connect (): void {
    this.#connected = true
    this.#syncSoon()
  }

  #lose (): void {
    // Each failed attempt to reconnect closes a connection, too.
    if (!this.#connected) return
    this.#connected = false
    this.#forget()
  }

  /** A slot has moved away, and the subscriptions to its channels with it. ioredis doesn't tell which: all are asked for again. */
  #askAgain (): void {
    this.#again ??= setTimeout(() => {
      this.#again = undefined
      this.#forget()
      this.#syncSoon()
    }, timing.redisRetryMin).unref()
  }

  /** Whatever Redis has said so far is void. */
  #forget (): void {
    this.#generation++
    const lost = [...this.#channels.held].filter((name) => this.#channels.wanted.has(name))
    for (const names of [this.#patterns, this.#channels]) {
      names.held.clear()
      names.refused.clear()
      for (const name of names.wanted.keys()) names.dirty.add(name)
    }
    this.#events.lost(lost)
  }

  async #sync (): Promise<void> {
    // The one that runs also does what was asked for meanwhile.
    if (this.#syncing) return
    this.#syncing = true
    while (this.#client.status === 'ready' && !this.#closed) {
      // Patterns first: whoever is told that a channel is live can rely on the patterns asked for before it.
      if (!await this.#step(this.#patterns) && !await this.#step(this.#channels)) break
    }
    this.#syncing = false
  }

  /** Brings one batch of names to what is wanted. Says whether there was any. */
  async #step (names: Names): Promise<boolean> {
    const batch = take(names.dirty, BATCH)
    const missing = batch.filter((name) => names.wanted.has(name) && !names.held.has(name))
    const surplus = batch.filter((name) => !names.wanted.has(name) && names.held.has(name))
    // Not held from now on, even before Redis confirms: whoever wants it again has to ask again.
    for (const name of surplus) names.held.delete(name)
    // If that fails, the connection is gone, and with it the subscription.
    if (surplus.length > 0) await names.unsubscribe(surplus).catch(() => {})
    if (missing.length > 0) await this.#subscribe(names, missing)
    return batch.length > 0
  }

  async #subscribe (names: Names, missing: string[]): Promise<void> {
    const generation = this.#generation
    const error = await names.subscribe(missing).then(() => undefined, (error: Error) => error)
    // The connection is gone: with the next one, all that is wanted is asked for again.
    if (generation !== this.#generation || this.#client.status !== 'ready') return
    if (error !== undefined) return await this.#refused(names, missing, error)
    for (const name of missing) {
      names.refused.delete(name)
      names.held.add(name)
      if (names === this.#channels) this.#events.live(name)
    }
  }

  async #refused (names: Names, missing: string[], error: Error): Promise<void> {
    // Not an answer of Redis: the connection is closing, and the next one starts anew.
    if (error.name !== 'ReplyError') return
    if (missing.length === 1) return this.#refuse(names, missing[0] as string, error)
    // Redis refuses all for the sake of one: the others shall not suffer for it.
    const half = Math.ceil(missing.length / 2)
    await this.#subscribe(names, missing.slice(0, half))
    await this.#subscribe(names, missing.slice(half))
  }

  #refuse (names: Names, name: string, error: Error): void {
    // A slot on its way from one node to another is nobody's fault.
    const passes = /^(MOVED|TRYAGAIN|CLUSTERDOWN) /.test(error.message)
    if (!passes) logRepeated(this.#log, SUBSCRIBING, { reason: describeRedisError(error) })
    names.refused.add(name)
    this.#later ??= setTimeout(() => {
      this.#later = undefined
      this.#retryRefused()
    }, passes ? timing.redisRetryMin : timing.redisRetryMax).unref()
  }

  #retryRefused (): void {
    for (const names of [this.#patterns, this.#channels]) {
      for (const name of names.refused) {
        if (names.wanted.has(name)) names.dirty.add(name)
        else names.refused.delete(name)
      }
    }
    this.#syncSoon()
  }
}

function names (subscribe: Names['subscribe'], unsubscribe: Names['unsubscribe']): Names {
  return { wanted: new Map(), held: new Set(), dirty: new Set(), refused: new Set(), subscribe, unsubscribe }
}

function take (names: Set<string>, most: number): string[] {
  const taken: string[] = []
  for (const name of names) {
    if (taken.length === most) break
    taken.push(name)
    names.delete(name)
  }
  return taken
}
