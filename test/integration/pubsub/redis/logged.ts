import type { RedisPubSub } from '../../../../lib/index.ts'

/** The entries of the log of a channel. */
export async function logged (pubsub: RedisPubSub, channel: string): Promise<unknown[]> {
  const page = await pubsub.eventLog?.read(channel, undefined, 1_000)
  return page?.entries.map(({ json }) => JSON.parse(json)) ?? []
}
