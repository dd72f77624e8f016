import { isCluster, type RedisClient } from './client.ts'

/** Makes one write of the commands that are sent until it is undone: the cost of a write is the system call. Returns its undo. */
export function cork (client: RedisClient): () => void {
  const nodes = isCluster(client) ? client.nodes('master') : [client]
  // One that is not connected has none.
  const streams = nodes.map(({ stream }) => stream)
  for (const stream of streams) stream?.cork()
  return () => { for (const stream of streams) stream?.uncork() }
}
