import { setTimeout as delay } from 'node:timers/promises'
import { Command, Redis } from 'ioredis'
import { RedisServer } from './redis-server.ts'
import { until } from './until.ts'

const SLOTS = 16_384
const MASTERS = 3

/**
 * Quick, so that tests are: a node is taken for dead after a second instead of fifteen, and replaced by its replica
 * however long it was away.
 */
const ARGS = [
  '--cluster-node-timeout', '1000', '--cluster-replica-validity-factor', '0', '--cluster-allow-replica-migration', 'no',
  '--repl-diskless-sync-delay', '0'
]

/** One process of the Cluster. */
export interface ClusterNode {
  server: RedisServer
  /** A connection to it, which waits while it is away. */
  admin: Redis
  id: string
}

/** A Redis Cluster of three masters with a replica each, all of them processes of the test's own. */
export class RedisCluster {
  readonly nodes: ClusterNode[]

  private constructor (nodes: ClusterNode[]) {
    this.nodes = nodes
  }

  /** Resolves once all nodes agree on the owners of slots, and all replicas follow. */
  static async start (): Promise<RedisCluster> {
    const servers = await Promise.all(
      Array.from({ length: 2 * MASTERS }, () => RedisServer.start({ cluster: true, args: ARGS }))
    )
    const nodes = await Promise.all(servers.map(async (server) => {
      const admin = new Redis(server.url, { maxRetriesPerRequest: null })
      admin.on('error', () => {})
      return { server, admin, id: await admin.call('CLUSTER', 'MYID') as string }
    }))
    const cluster = new RedisCluster(nodes)
    await cluster.#assemble()
    return cluster
  }

  /** How ioredis finds it. */
  get addresses (): { host: string, port: number }[] {
    return this.nodes.map(({ server }) => ({ host: '127.0.0.1', port: server.port }))
  }

  /** Resolves with the node that owns the slot of a key or channel. */
  async ownerOf (key: string): Promise<ClusterNode> {
    for (const [first, last, [, port]] of await this.#slots()) {
      if (first <= slotOf(key) && slotOf(key) <= last) return this.#at(port)
    }
    throw new Error(`Nobody owns the slot of ${key}`)
  }

  /** All that own slots now. */
  async masters (): Promise<ClusterNode[]> {
    return [...new Set((await this.#slots()).map(([, , [, port]]) => this.#at(port)))]
  }

  /** Moves the slot of a key to another master while it is in use, key by key, with a rest after each. */
  async moveSlot (key: string, to: ClusterNode, restMs: () => number): Promise<void> {
    const slot = slotOf(key)
    const from = await this.ownerOf(key)
    await to.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id)
    await from.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id)
    for (;;) {
      const names = await from.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, 1) as string[]
      if (names.length === 0) break
      await from.admin.call('MIGRATE', '127.0.0.1', to.server.port, '', 0, 5_000, 'KEYS', ...names)
      await delay(restMs())
    }
    // The new owner first: the old one would send everybody in a circle.
    for (const { admin } of [to, from]) await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id)
    for (const { admin } of await this.masters()) await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id)
  }

  /** Resolves when a node owns nothing any more, since a replica has taken over. */
  async replaced (node: ClusterNode): Promise<void> {
    await until(() => this.masters(), (masters) => !masters.includes(node))
  }

  /** Resolves once all nodes are there and agree, and all replicas follow. */
  async whole (): Promise<void> {
    await Promise.all(
      this.nodes.map(({ admin }) => until(() => admin.call('CLUSTER', 'INFO') as Promise<string>, isWhole))
    )
    await Promise.all(this.nodes.map(({ admin }) => until(() => admin.info('replication'), follows)))
    await Promise.all(
      this.nodes.map(({ admin }) =>
        until(
          () => admin.call('CLUSTER', 'NODES') as Promise<string>,
          (nodes) => !nodes.includes('fail')
        )
      )
    )
  }

  async stop (): Promise<void> {
    for (const { admin } of this.nodes) admin.disconnect()
    await Promise.all(this.nodes.map(({ server }) => server.stop()))
  }

  async #assemble (): Promise<void> {
    const [first, ...others] = this.nodes as [ClusterNode, ...ClusterNode[]]
    const bus = async ({ admin }: ClusterNode): Promise<string> =>
      ((await admin.config('GET', 'cluster-port')) as string[])[1] as string
    // Epochs of their own from the start: with equal ones, two could take over for one.
    for (const [n, { admin }] of this.nodes.entries()) await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', n + 1)
    for (const node of others) await first.admin.call('CLUSTER', 'MEET', '127.0.0.1', node.server.port, await bus(node))
    const masters = this.nodes.slice(0, MASTERS)
    for (const [n, { admin }] of masters.entries()) {
      await admin.call(
        'CLUSTER',
        'ADDSLOTSRANGE',
        Math.ceil((n * SLOTS) / MASTERS),
        Math.ceil(((n + 1) * SLOTS) / MASTERS) - 1
      )
    }
    for (const [n, { admin }] of this.nodes.slice(MASTERS).entries()) {
      const { id } = masters[n] as ClusterNode
      await until(() => admin.call('CLUSTER', 'NODES') as Promise<string>, (nodes) => nodes.includes(id))
      await admin.call('CLUSTER', 'REPLICATE', id)
    }
    await this.whole()
  }

  /** Resolves with the owners of all slots, as the first running node reports them. */
  async #slots (): Promise<[first: number, last: number, owner: [host: string, port: number]][]> {
    const { admin } = this.nodes.find(({ server }) => server.runs) as ClusterNode
    return await admin.call('CLUSTER', 'SLOTS') as [number, number, [string, number]][]
  }

  #at (port: number): ClusterNode {
    return this.nodes.find(({ server }) => server.port === port) as ClusterNode
  }
}

export function slotOf (key: string): number {
  return new Command('get', [key]).getSlot() as number
}

function isWhole (info: string): boolean {
  return (
    info.includes('cluster_state:ok') &&
    info.includes(`cluster_known_nodes:${2 * MASTERS}`) &&
    info.includes(`cluster_size:${MASTERS}`)
  )
}

function follows (replication: string): boolean {
  return replication.includes('role:master')
    ? replication.includes('connected_slaves:1')
    : replication.includes('master_link_status:up')
}
