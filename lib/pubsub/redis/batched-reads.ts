import type { Query } from './query.ts'
import type { Script } from './scripts.ts'

/** A read of one log that was not sent yet. */
interface Read {
  keys: string[]
  args: (string | number)[]
  resolve (reply: unknown): void
  reject (error: Error): void
}

/** Maximum number of reads in one script call. A larger one would block Redis longer. */
const MOST_READS = 64

/**
 * Combines the reads of one turn of the event loop, as when many chats open at once: for Redis and ioredis, another
 * script call costs much more than another read in the same call.
 */
export class BatchedReads {
  readonly #query: Query
  readonly #script: Script
  #apart: boolean
  #gathered: Read[] = []

  /** `script` takes the keys and arguments of several reads. `apart`: whether each read needs a call of its own. */
  constructor (query: Query, script: Script, apart: boolean) {
    this.#query = query
    this.#script = script
    this.#apart = apart
  }

  /** Resolves with the reply. Rejects with `RT_LOG_UNAVAILABLE`. The read is sent in this turn. */
  read (keys: string[], args: (string | number)[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#gathered.push({ keys, args, resolve, reject })
      if (this.#apart || this.#gathered.length === MOST_READS) this.flush()
      else if (this.#gathered.length === 1) process.nextTick(() => this.flush())
    })
  }

  /**
   * Reads many logs, each with one key and no argument. This makes fewer objects than calls of `read` would, since each
   * chat is polled: while many objects are made, V8 reserves more memory for new ones. Rejects with
   * `RT_LOG_UNAVAILABLE`.
   */
  async readAll (keys: string[]): Promise<unknown[]> {
    const parts: Promise<unknown[]>[] = []
    for (let at = 0; at < keys.length; at += MOST_READS) parts.push(this.#readSome(keys.slice(at, at + MOST_READS)))
    return (await Promise.all(parts)).flat()
  }

  /** Sends the gathered reads. Called before an event is sent that they must not see. */
  flush (): void {
    const reads = this.#gathered
    if (reads.length === 0) return
    this.#gathered = []
    if (reads.length === 1) this.#sendOne(reads[0] as Read)
    else this.#send(reads)
  }

  async #readSome (keys: string[]): Promise<unknown[]> {
    if (!this.#apart) {
      const replies = await this.#query.attempt(this.#script, keys, [])
      if (!(replies instanceof Error)) return replies as unknown[]
      this.#refused(replies)
    }
    return (await this.#query.runEach(this.#script, keys)).flat()
  }

  #sendOne ({ keys, args, resolve, reject }: Read): void {
    this.#query.run(this.#script, keys, args).then((replies) => resolve((replies as unknown[])[0]), reject)
  }

  #send (reads: Read[]): void {
    const keys: string[] = []
    const args: (string | number)[] = []
    for (const read of reads) {
      keys.push(...read.keys)
      args.push(...read.args)
    }
    this.#query.attempt(this.#script, keys, args).then((replies) => {
      if (replies instanceof Error) {
        this.#refused(replies)
        for (const read of reads) this.#sendOne(read)
        return
      }
      for (const [index, { resolve }] of reads.entries()) resolve((replies as unknown[])[index])
    }, (error: Error) => {
      for (const { reject } of reads) reject(error)
    })
  }

  /**
   * Called when Redis has refused several reads. The reason may be one of them, such as a key of another type or a
   * missing right, so the caller sends each of them in a call of its own.
   */
  #refused ({ message }: Error): void {
    // The server is a Cluster node, but the client is not a Cluster client.
    if (message.startsWith('CROSSSLOT ')) this.#apart = true
  }
}
