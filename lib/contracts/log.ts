import { randomUUID } from 'node:crypto'
import { parseCursor, type Cursor } from '../pubsub/cursor.ts'
import type { PubSubMessage, PubSubProvider } from '../pubsub/provider.ts'
import { untilActive } from './bus.ts'
import type { ChannelFeed } from '../pubsub/channel-feed.ts'
import type { EventLog, LogGap, Replayable } from '../pubsub/event-log.ts'
import type { ProviderOptions } from '../pubsub/provider-options.ts'

/** A provider that can keep a log. */
export type LogProvider = PubSubProvider & ChannelFeed & Replayable

/** The provider options of a case. The provider chooses the value of an absent option. */
export type LogOptions = Pick<ProviderOptions, 'history' | 'idempotencyTtlMs' | 'maxPayloadBytes'>

/** Creates a provider, which is closed when the case ends. */
export type OpenLog = (options?: LogOptions) => Promise<LogProvider>

/** Returns a unique channel name. */
export function freshLogName (): string {
  return `log-${randomUUID()}`
}

export function logOf (provider: LogProvider): EventLog {
  return provider.eventLog as EventLog
}

/** Returns the position in a publish receipt. */
export function positionOf ({ id }: { id?: string }): Cursor | undefined {
  return id === undefined ? undefined : parseCursor(id)
}

/** Publishes the numbers from 1 to `last`. Returns the start position, followed by the position of each event. */
export async function fill (provider: LogProvider, channel: string, last: number): Promise<Cursor[]> {
  const { head } = await logOf(provider).read(channel, undefined, 1)
  const receipts = await Promise.all(Array.from({ length: last }, (_, n) => provider.publish(channel, n + 1)))
  return [head, ...receipts.map((receipt) => positionOf(receipt) as Cursor)]
}

/** Returns positions that are not in a log of five events, each with the reason. `cursors` is what `fill` returned. */
export function positionsOutside (cursors: Cursor[]): [LogGap, Cursor][] {
  const [start, , second, , , head] = cursors as [Cursor, Cursor, Cursor, Cursor, Cursor, Cursor]
  return [
    ['epoch', { ...head, epoch: 'another' }],
    ['epoch', { epoch: 'another', offset: 1_000, tag: 1 }],
    ['ahead', { ...head, offset: 6 }],
    ['ahead', { ...head, offset: 10 ** 15 - 1, tag: 10 ** 15 - 1 }],
    ['diverged', { ...head, tag: head.tag + 1 }],
    ['diverged', { ...second, tag: second.tag + 1 }],
    ['diverged', { ...start, tag: 1 }]
  ]
}

/** Reads a page. Returns its gap, and the published number of each event. */
export async function readNumbers (
  provider: LogProvider, channel: string, after: Cursor | undefined, limit: number
): Promise<{ gap: LogGap | undefined, numbers: number[] }> {
  const { gap, entries } = await logOf(provider).read(channel, after, limit)
  return { gap, numbers: entries.map(({ json }) => JSON.parse(json.toString())) }
}

export function range (first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, n) => first + n)
}

/**
 * Subscribes to a channel. Received messages are appended to `got`. `delivered()` resolves when all messages published
 * before the call have been received.
 */
export async function collectMessages (
  provider: LogProvider, channel: string
): Promise<{ got: PubSubMessage[], delivered: () => Promise<void> }> {
  const got: PubSubMessage[] = []
  let onLast: () => void = () => {}
  provider.subscribeExact(channel, (message) => { message.data === 'last' ? onLast() : got.push(message) })
  await untilActive(provider)
  const delivered = async (): Promise<void> => {
    const last = new Promise<void>((resolve) => { onLast = resolve })
    await provider.publish(channel, 'last', { ephemeral: true })
    await last
    // The ephemeral message may arrive before durable ones. A new subscription is confirmed only after all of them.
    await untilActive(provider)
  }
  return { got, delivered }
}
