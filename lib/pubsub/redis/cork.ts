import { isCluster, type RedisClient } from './client.ts'

/**
 * Combines the commands sent from now on into one write, since each write costs a system call. Returns a function that
 * uncorks, which sends them.
 */
export function cork (client: RedisClient): () => void {
  const nodes = isCluster(client) ? client.nodes('master') : [client]
  // A client that is not connected has no stream.
  const streams = nodes.map(({ stream }) => stream)
  for (const stream of streams) stream?.cork()
  return () => { for (const stream of streams) stream?.uncork() }
}
