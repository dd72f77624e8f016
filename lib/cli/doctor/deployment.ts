import { Cluster, Redis } from 'ioredis'
import { randomTag } from '../../pubsub/cursor.ts'
import { databaseOf } from '../../pubsub/redis/client.ts'
import { RedisKeys } from '../../pubsub/redis/keys.ts'
import { connect, openNode, openOnce } from './connect.ts'
import { Server } from './server.ts'
import { addressOf, type Target } from '../target.ts'

interface DeploymentOptions { target: Target, keyPrefix: string, sharded: boolean }

/** All servers of a target, as the checks look at them. */
export class Deployment {
  readonly target: Target
  readonly keyPrefix: string
  readonly sharded: boolean
  /** Sends commands as an instance does. */
  readonly client: Redis | Cluster
  readonly #opened: Redis[] = []

  constructor ({ target, keyPrefix, sharded }: DeploymentOptions) {
    this.target = target
    this.keyPrefix = keyPrefix
    this.sharded = sharded
    this.client = openOnce(target)
  }

  /** Rejects with the reason if nothing answers. */
  async connect (): Promise<void> {
    await connect(this.client)
  }

  /** The number of the database. */
  get database (): number {
    return databaseOf(this.client)
  }

  /** The primaries. */
  get servers (): Server[] {
    const { client, keyPrefix } = this
    if (client instanceof Cluster) {
      return client.nodes('master').map((node) => new Server(node, addressOf(node.options), keyPrefix))
    }
    // The primary that the Sentinels have named is in no option.
    const { remoteAddress: host, remotePort: port } = client.stream
    return [new Server(client, addressOf({ host, port }), keyPrefix)]
  }

  /** One of the primaries. Throws if none is known. */
  get primary (): Server {
    const [first] = this.servers
    if (first === undefined) throw new Error('no primary is known')
    return first
  }

  /** A connection of its own to the node of a client, which is closed with the others. */
  async open (client: Redis): Promise<Redis> {
    const opened = openNode(client.options)
    this.#opened.push(opened)
    await connect(opened)
    return opened
  }

  /** The names of a channel that no app uses. */
  names (): { key: string, channel: string } {
    const { keyPrefix, database, sharded } = this
    const { idempotency, channel } = new RedisKeys({ keyPrefix, database, sharded }).of(`doctor:${randomTag()}`)
    return { key: idempotency, channel }
  }

  close (): void {
    for (const client of [this.client, ...this.#opened]) client.disconnect()
  }
}
