import { parseCursor, type Cursor } from '../../../../lib/pubsub/cursor.ts'
import { RedisPubSub } from '../../../../lib/index.ts'
import { live } from '../../../support/live.ts'
import type { Envelope, LogPage } from '../../../../lib/pubsub/event-log.ts'

export const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always']

/** Publishes numbers one after another. Returns their positions. */
export async function publish (pubsub: RedisPubSub, ...numbers: number[]): Promise<Cursor[]> {
  const positions: Cursor[] = []
  for (const n of numbers) positions.push(parseCursor((await pubsub.publish('c', n)).id as string) as Cursor)
  return positions
}

/** The events of a page as the numbers that were published, or `marker`. */
export function contentsOf ({ entries }: LogPage): unknown[] {
  return entries.map(saysOfOne)
}

export function saysOfOne ({ json, position }: Envelope): unknown {
  return position?.isMarker ? 'marker' : JSON.parse(json.toString())
}

/** Follows the channel. Returns its broadcasts, as they arrive. */
export async function follow (pubsub: RedisPubSub): Promise<unknown[]> {
  const got: unknown[] = []
  pubsub.follow('c', { live () {}, lost () { got.push('lost') }, receive (envelope) { got.push(saysOfOne(envelope)) } })
  await live(pubsub)
  return got
}
