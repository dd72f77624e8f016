import { Command } from 'ioredis'
import type { Logger } from '../../core/logger.ts'
import type { ClusterClient } from './client.ts'
import { openShardSubscriber } from './connection.ts'
import { Subscriber, type SubscriberEvents } from './subscriber.ts'
import { timing } from '../../core/timing.ts'

/** A node that owns slots, and how many channels are subscribed to there. */
interface Shard { subscriber: Subscriber, channels: number }

interface Channel {
  /** How many want it. */
  count: number
  /** Who owns its slot, as far as is known. */
  node: string | undefined
  leave: () => void
}

/**
 * Keeps subscribed to the shard channels of a Cluster: each is published on the node that owns its slot only, and slots move. A
 * channel moves along as soon as the client knows of it.
 */
export class ShardedSubscriber {
  readonly #cluster: ClusterClient
  readonly #events: SubscriberEvents
  readonly #log: Logger
  readonly #shards = new Map<string, Shard>()
  readonly #channels = new Map<string, Channel>()
  readonly #onRefresh = (): void => this.#rebalance()
  #refresh: NodeJS.Timeout | undefined

  constructor (cluster: ClusterClient, events: SubscriberEvents, log: Logger) {
    this.#cluster = cluster
    this.#events = events
    this.#log = log
    cluster.on('refresh', this.#onRefresh)
  }

  /** Subscribes to a channel for one more who wants it. Returns its undo. */
  subscribe (redisChannel: string): () => void {
    const channel = this.#channels.get(redisChannel) ?? { count: 0, node: undefined, leave: () => {} }
    channel.count++
    this.#channels.set(redisChannel, channel)
    this.#place(redisChannel, channel)
    let unsubscribed = false
    return () => {
      if (unsubscribed) return
      unsubscribed = true
      if (--channel.count > 0) return
      channel.leave()
      this.#channels.delete(redisChannel)
    }
  }

  get isConnected (): boolean {
    return [...this.#shards.values()].every(({ subscriber }) => subscriber.isConnected)
  }

  /** Whether the owner of this channel has confirmed it on the connection of now. */
  isLive (redisChannel: string): boolean {
    const node = this.#channels.get(redisChannel)?.node
    return node !== undefined && this.#shards.get(node)?.subscriber.isLive(redisChannel) === true
  }

  /** Whether each channel has an owner, and none of them has refused one. Rejects where one of them doesn't answer. */
  async isHealthy (): Promise<boolean> {
    const answers = await Promise.all([...this.#shards.values()].map(({ subscriber }) => subscriber.isHealthy()))
    return answers.every(Boolean) && [...this.#channels.values()].every(({ node }) => node !== undefined)
  }

  async close (): Promise<void> {
    clearTimeout(this.#refresh)
    this.#cluster.off('refresh', this.#onRefresh)
    await Promise.all([...this.#shards.values()].map(({ subscriber }) => subscriber.close()))
  }

  /** After the client has learnt which node owns what. */
  #rebalance (): void {
    for (const [redisChannel, channel] of this.#channels) this.#place(redisChannel, channel)
    for (const [node, { subscriber, channels }] of this.#shards) {
      if (channels > 0) continue
      this.#shards.delete(node)
      subscriber.close()
    }
  }

  /** Subscribes to a channel where its slot is, if it is not subscribed to there. */
  #place (redisChannel: string, channel: Channel): void {
    const node = this.#cluster.slots[slotOf(redisChannel)]?.[0]
    if (node === undefined || node === channel.node) return
    channel.leave()
    const shard = this.#shardAt(node)
    shard.channels++
    const unsubscribe = shard.subscriber.subscribe(redisChannel)
    // If it has come back before that node was asked to give it up, nothing was lost.
    if (channel.node !== undefined && !shard.subscriber.isLive(redisChannel)) this.#events.lost([redisChannel])
    channel.node = node
    channel.leave = () => {
      shard.channels--
      unsubscribe()
    }
  }

  #shardAt (node: string): Shard {
    let shard = this.#shards.get(node)
    if (shard === undefined) {
      const client = openShardSubscriber(this.#cluster, node)
      // It may have gone for good, or have given a slot away.
      client.on('close', () => this.#refreshSoon())
      client.on('moved', () => this.#refreshSoon())
      shard = { subscriber: new Subscriber(client, this.#eventsOf(node, () => shard), this.#log, { sharded: true }), channels: 0 }
      this.#shards.set(node, shard)
    }
    return shard
  }

  /** A node has no say in channels that have moved on: by now another one may have told that they are live. */
  #eventsOf (node: string, shard: () => Shard | undefined): SubscriberEvents {
    const isThere = (redisChannel: string): boolean => this.#channels.get(redisChannel)?.node === node && this.#shards.get(node) === shard()
    return { ...this.#events, lost: (redisChannels) => this.#events.lost(redisChannels.filter(isThere)) }
  }

  #refreshSoon (): void {
    this.#refresh ??= setTimeout(() => {
      this.#refresh = undefined
      this.#cluster.refreshSlotsCache()
    }, timing.redisRetryMin).unref()
  }
}

function slotOf (redisChannel: string): number {
  return new Command('get', [redisChannel]).getSlot()
}
