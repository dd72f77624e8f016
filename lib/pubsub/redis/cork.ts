import { isCluster, type RedisClient } from './client.ts'

/** Combines commands into one write, since each write costs a system call. */
export class Cork {
  #corked = false

  /** Combines all commands that are sent to the client in this turn of the event loop from now on. */
  hold (client: RedisClient): void {
    if (this.#corked) return
    this.#corked = true
    const nodes = isCluster(client) ? client.nodes('master') : [client]
    // A client that is not connected has no stream.
    const streams = nodes.map(({ stream }) => stream)
    for (const stream of streams) stream?.cork()
    process.nextTick(() => {
      this.#corked = false
      for (const stream of streams) stream?.uncork()
    })
  }
}
