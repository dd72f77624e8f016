import { Command } from 'ioredis'
import type { Logger } from '../../core/logger.ts'
import type { ClusterClient } from './client.ts'
import { openShardSubscriber } from './connection.ts'
import { Subscriber, type SubscriberEvents } from './subscriber.ts'
import { timing } from '../../core/timing.ts'

/** The subscriber of a node that owns slots, and the number of channels subscribed to there. */
interface Shard { subscriber: Subscriber, channels: number }

interface Channel {
  /** Number of subscriptions to this channel. */
  count: number
  /** Node that owns its slot, as last known by the client. */
  node: string | undefined
  /** Unsubscribes on that node. */
  leave: () => void
}

/**
 * Keeps subscriptions to the shard channels of a Cluster. A shard channel is published only on the node that owns its
 * slot, and slots can move. When the client learns that a slot has moved, its channels are subscribed to on the new
 * node.
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

  /** Adds a subscription to a channel. Returns a function that unsubscribes. */
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

  /** Returns whether the channel's node has confirmed the subscription on the current connection. */
  isLive (redisChannel: string): boolean {
    const node = this.#channels.get(redisChannel)?.node
    return node !== undefined && this.#shards.get(node)?.subscriber.isLive(redisChannel) === true
  }

  /** Resolves with true if each channel has a node and no node refused it. Rejects if a node does not reply. */
  async isHealthy (): Promise<boolean> {
    const answers = await Promise.all([...this.#shards.values()].map(({ subscriber }) => subscriber.isHealthy()))
    return answers.every(Boolean) && [...this.#channels.values()].every(({ node }) => node !== undefined)
  }

  async close (): Promise<void> {
    clearTimeout(this.#refresh)
    this.#cluster.off('refresh', this.#onRefresh)
    await Promise.all([...this.#shards.values()].map(({ subscriber }) => subscriber.close()))
  }

  /** Called after the client has updated its slot map. */
  #rebalance (): void {
    for (const [redisChannel, channel] of this.#channels) this.#place(redisChannel, channel)
    for (const [node, { subscriber, channels }] of this.#shards) {
      if (channels > 0) continue
      this.#shards.delete(node)
      subscriber.close()
    }
  }

  /** Subscribes to a channel on the node that owns its slot, if it is not already subscribed there. */
  #place (redisChannel: string, channel: Channel): void {
    const node = this.#cluster.slots[slotOf(redisChannel)]?.[0]
    if (node === undefined || node === channel.node) return
    channel.leave()
    const shard = this.#shardAt(node)
    shard.channels++
    const unsubscribe = shard.subscriber.subscribe(redisChannel)
    // If the slot moved back before that node got the UNSUBSCRIBE, the subscription is still live and nothing was lost.
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
      // The node may have left the Cluster, or have given a slot to another node.
      client.on('close', () => this.#refreshSoon())
      client.on('moved', () => this.#refreshSoon())
      shard = {
        subscriber: new Subscriber(client, this.#eventsOf(node, () => shard), this.#log, { sharded: true }),
        channels: 0
      }
      this.#shards.set(node, shard)
    }
    return shard
  }

  /** Ignores `lost` for channels that have moved to another node, which may already have reported them as live. */
  #eventsOf (node: string, shard: () => Shard | undefined): SubscriberEvents {
    const isThere = (redisChannel: string): boolean =>
      this.#channels.get(redisChannel)?.node === node && this.#shards.get(node) === shard()
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
