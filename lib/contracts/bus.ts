import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { PubSubMessage, PubSubProvider } from '../pubsub/provider.ts'
import type { CloseLater, Make } from './contract.ts'
import type { ChannelFeed } from '../pubsub/channel-feed.ts'

/** Two connected providers, or the same one as both `provider` and `peer`. `sides` lists each distinct one once. */
export interface Bus<P extends PubSubProvider = PubSubProvider> { provider: P, peer: P, sides: P[] }

/** Creates a bus. Its providers are closed when the case ends. */
export async function openBus<P extends PubSubProvider> (make: Make<P>, closeLater: CloseLater): Promise<Bus<P>> {
  const made = await make()
  const [provider, peer] = isPair(made) ? made : [made, made]
  const sides = [...new Set([provider, peer])]
  sides.forEach(closeLater)
  return { provider, peer, sides }
}

function isPair<P extends PubSubProvider> (made: P | readonly [P, P]): made is readonly [P, P] {
  return Array.isArray(made)
}

/** Returns a unique channel name that no pattern for another such name matches. */
export function freshName (kind = 'channel'): string {
  return `${kind}-${randomUUID()}-end`
}

/**
 * Resolves when all subscriptions made on this provider so far are active. Relies on subscriptions becoming active in
 * the order in which they are made.
 */
export async function untilActive (
  side: PubSubProvider & Partial<ChannelFeed>, channel = freshName('active')
): Promise<void> {
  if (side.follow === undefined) await untilProbed(side, channel)
  else await untilLive(side as ChannelFeed, channel)
}

export async function untilAllActive (sides: PubSubProvider[]): Promise<void> {
  await Promise.all(sides.map((side) => untilActive(side)))
}

function untilLive (feed: ChannelFeed, channel: string): Promise<void> {
  return new Promise((resolve) => {
    const unsubscribe = feed.follow(channel, { live () { unsubscribe(); resolve() }, lost () {}, receive () {} })
  })
}

/** For a provider that does not report when a subscription is active: publishes until a message arrives. */
async function untilProbed (side: PubSubProvider, channel: string): Promise<void> {
  const got: unknown[] = []
  const unsubscribe = side.subscribeExact(channel, (message) => { got.push(message) })
  while (got.length === 0) {
    await side.publish(channel, 'probe')
    await delay(1)
  }
  unsubscribe()
}

/** Resolves when all messages published by these providers so far are delivered on each, so that no more can arrive. */
export async function untilDelivered (sides: PubSubProvider[]): Promise<void> {
  for (const publisher of sides) {
    const channel = freshName('last')
    const last = sides.map((side) => next(side, channel))
    await untilAllActive(sides)
    await publisher.publish(channel, 'last')
    await Promise.all(last)
  }
}

function next (side: PubSubProvider, channel: string): Promise<PubSubMessage> {
  return new Promise((resolve) => {
    const unsubscribe = side.subscribeExact(channel, (message) => { unsubscribe(); resolve(message) })
  })
}

/** Subscribes to a channel. Returns an array to which the data of each message is appended. */
export function collect (side: PubSubProvider, channel: string): unknown[] {
  const got: unknown[] = []
  side.subscribeExact(channel, ({ data }) => { got.push(data) })
  return got
}

/** Subscribes to a pattern. Returns an array to which the data of each message is appended. */
export function collectPattern (side: PubSubProvider, pattern: string): unknown[] {
  const got: unknown[] = []
  side.subscribe(pattern, ({ data }) => { got.push(data) })
  return got
}

/** Subscribes a handler to a channel and to the pattern `<channel>*`. Returns a function that unsubscribes for each. */
export function subscribeBoth (
  side: PubSubProvider, channel: string, handler: (message: PubSubMessage) => unknown
): (() => void)[] {
  return [side.subscribeExact(channel, handler), side.subscribe(`${channel}*`, handler)]
}
