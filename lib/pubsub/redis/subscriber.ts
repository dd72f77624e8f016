import { outsideRequests } from '../../core/async-context.ts'
import type { Logger } from '../../core/logger.ts'
import { RepeatingTimer } from '../../core/repeating-timer.ts'
import { logRepeated, type RepeatedFailure } from '../../observability/repeated-failure.ts'
import type { StandaloneClient } from './client.ts'
import { closeConnection, describeRedisError, watchConnection } from './connection.ts'
import { timing } from '../../core/timing.ts'

/** Callbacks of a subscriber. */
export interface SubscriberEvents {
  message (redisChannel: string, message: Buffer): void
  patternMessage (redisPattern: string, redisChannel: string, message: Buffer): void
  /** Redis has confirmed the subscription to a channel. Messages published from now on are received. */
  live (redisChannel: string): void
  /** The subscriptions to these channels were lost. */
  lost (redisChannels: string[]): void
}

const SUBSCRIBING: RepeatedFailure = { level: 'error', message: 'Redis refuses to subscribe, trying again' }

/** Maximum number of names in one SUBSCRIBE. A larger command would block Redis for too long. */
const BATCH = 500

/** Names of one kind, either channels or patterns. */
interface Names {
  /** Number of subscriptions to each name. */
  readonly wanted: Map<string, number>
  /** Names that Redis has confirmed on the current connection. */
  readonly held: Set<string>
  /** Names that may differ between `wanted` and `held`. Saves a scan of all names for each change. */
  readonly dirty: Set<string>
  /** Names that Redis has refused. They are retried periodically, since rights may be granted later. */
  readonly refused: Set<string>
  subscribe (names: string[]): Promise<unknown>
  unsubscribe (names: string[]): Promise<unknown>
}

/**
 * Keeps one connection subscribed to the wanted channels and patterns. Counts the subscriptions to each name,
 * subscribes to many names with one command, and resubscribes after each reconnect.
 */
export class Subscriber {
  readonly #client: StandaloneClient
  readonly #events: SubscriberEvents
  readonly #log: Logger
  readonly #patterns: Names
  readonly #channels: Names
  readonly #ping: RepeatingTimer
  readonly #unwatch: () => void
  /** Incremented whenever confirmations become invalid, so that a late one from an earlier connection is ignored. */
  #generation = 0
  #connected = false
  /** Runs the next sync. */
  #soon: NodeJS.Immediate | undefined
  /** Retries the refused names. */
  #later: NodeJS.Timeout | undefined
  /** Resubscribes to all names after a slot has moved. */
  #again: NodeJS.Timeout | undefined
  #syncing = false
  #closed = false

  /** `sharded` subscribes to shard channels. The node must own their slots. */
  constructor (client: StandaloneClient, events: SubscriberEvents, log: Logger, { sharded = false } = {}) {
    this.#client = client
    this.#events = events
    this.#log = log
    this.#patterns = names((list) => client.psubscribe(...list), (list) => client.punsubscribe(...list))
    this.#channels = sharded
      // One command for each channel, since all channels of an SSUBSCRIBE must be in the same slot.
      ? names(
        (list) => Promise.all(list.map((name) => client.ssubscribe(name))),
        (list) => Promise.all(list.map((name) => client.sunsubscribe(name)))
      )
      : names((list) => client.subscribe(...list), (list) => client.unsubscribe(...list))
    this.#unwatch = watchConnection(client, 'subscriber', log)
    client.on(
      sharded ? 'smessageBuffer' : 'messageBuffer',
      (channel: Buffer, message: Buffer) => events.message(channel.toString(), message)
    )
    client.on(
      'pmessageBuffer',
      (pattern: string, channel: Buffer, message: Buffer) => events.patternMessage(pattern, channel.toString(), message)
    )
    client.on('ready', () => this.#connect())
    client.on('close', () => this.#lose())
    client.on('moved', () => this.#askAgain())
    // A frozen Redis leaves an idle connection open. Only a missing reply to PING reveals it.
    this.#ping = new RepeatingTimer(timing.redisPing, () => {
      if (client.status === 'ready') client.ping().catch(() => {})
    })
    this.#ping.start()
  }

  /** Adds a subscription to a channel. Returns a function that unsubscribes. */
  subscribe (redisChannel: string): () => void {
    return this.#want(this.#channels, redisChannel)
  }

  /** Adds a subscription to a pattern. Returns a function that unsubscribes. */
  psubscribe (redisPattern: string): () => void {
    return this.#want(this.#patterns, redisPattern)
  }

  get isConnected (): boolean {
    return this.#connected
  }

  /** Returns whether Redis has confirmed this channel on the current connection. */
  isLive (redisChannel: string): boolean {
    return this.#channels.held.has(redisChannel)
  }

  /** Resolves with false if Redis has refused a subscription. Rejects if Redis does not reply. */
  async isHealthy (): Promise<boolean> {
    await this.#client.ping()
    return this.#patterns.refused.size + this.#channels.refused.size === 0
  }

  async close (): Promise<void> {
    this.#closed = true
    this.#ping.stop()
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

  /** Schedules a sync for the end of this turn, so that all subscriptions of one turn are sent together. */
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
    // A failed attempt to reconnect emits `close` as well.
    if (!this.#connected) return
    this.#connected = false
    this.#forget()
  }

  /**
   * Resubscribes after a slot has moved to another node, which ends the subscriptions to its channels. ioredis does not
   * report which channels are affected, so all are subscribed to again.
   */
  #askAgain (): void {
    this.#again ??= setTimeout(() => {
      this.#again = undefined
      this.#forget()
      this.#syncSoon()
    }, timing.redisRetryMin).unref()
  }

  /** Discards all confirmations and refusals, and marks all wanted names for a new subscription. */
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
    // A running sync also handles names added meanwhile.
    if (this.#syncing) return
    this.#syncing = true
    while (this.#client.status === 'ready' && !this.#closed) {
      // Patterns first: when `live` is called for a channel, the patterns requested before it are already active.
      if (!await this.#step(this.#patterns) && !await this.#step(this.#channels)) break
    }
    this.#syncing = false
  }

  /** Subscribes to and unsubscribes from one batch of dirty names. Returns false if there were none. */
  async #step (names: Names): Promise<boolean> {
    const batch = take(names.dirty, BATCH)
    const missing = batch.filter((name) => names.wanted.has(name) && !names.held.has(name))
    const surplus = batch.filter((name) => !names.wanted.has(name) && names.held.has(name))
    // Removed before Redis confirms the unsubscribe, so that a new subscription meanwhile is sent to Redis again.
    for (const name of surplus) names.held.delete(name)
    // If this fails, the connection was lost, and its subscriptions with it.
    if (surplus.length > 0) await names.unsubscribe(surplus).catch(() => {})
    if (missing.length > 0) await this.#subscribe(names, missing)
    return batch.length > 0
  }

  async #subscribe (names: Names, missing: string[]): Promise<void> {
    const generation = this.#generation
    const error = await names.subscribe(missing).then(() => undefined, (error: Error) => error)
    // The connection was lost. All wanted names are subscribed to again on the next one.
    if (generation !== this.#generation || this.#client.status !== 'ready') return
    if (error !== undefined) return await this.#refused(names, missing, error)
    for (const name of missing) {
      names.refused.delete(name)
      names.held.add(name)
      if (names === this.#channels) this.#events.live(name)
    }
  }

  async #refused (names: Names, missing: string[], error: Error): Promise<void> {
    // Not a reply of Redis: the connection is closing, and the next one subscribes to all names again.
    if (error.name !== 'ReplyError') return
    if (missing.length === 1) return this.#refuse(names, missing[0] as string, error)
    // Redis refuses the whole command because of a single name. Retry in halves to find it.
    const half = Math.ceil(missing.length / 2)
    await this.#subscribe(names, missing.slice(0, half))
    await this.#subscribe(names, missing.slice(half))
  }

  #refuse (names: Names, name: string, error: Error): void {
    // These errors occur while a slot moves between nodes. They are temporary, so they are not logged.
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
