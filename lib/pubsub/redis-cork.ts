import { Cluster, type Redis } from 'ioredis'

/** Makes one write of the commands that are sent until it is undone: the cost of a write is the system call. Returns its undo. */
export function cork (client: Redis | Cluster): () => void {
  const nodes = client instanceof Cluster ? client.nodes('master') : [client]
  // One that is not connected has none.
  const streams = nodes.map(({ stream }) => stream as typeof stream | undefined)
  for (const stream of streams) stream?.cork()
  return () => { for (const stream of streams) stream?.uncork() }
}
