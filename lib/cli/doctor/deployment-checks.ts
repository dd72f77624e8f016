import { Cluster, Redis } from 'ioredis'
import { silentLogger } from '../../core/logger.ts'
import { timing } from '../../core/timing.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import { CHAT } from '../../pubsub/names.ts'
import { RedisPubSub } from '../../pubsub/redis/redis-pubsub.ts'
import { addressOf, type ClientOptions, type Target } from '../target.ts'
import { connect, openNode, reasonOf } from './connect.ts'
import type { Deployment } from './deployment.ts'
import { failure, ok, warning, type Check, type Sight } from './findings.ts'
import { commands, missingRights, shardedCommands } from './rights.ts'
import type { Server } from './server.ts'

/** A check of all servers together. */
interface DeploymentCheck extends Check<Deployment> {
  /** The only kind of target to look at. @default all */
  only?: Target['kind']
}

/** Looked at once for all servers. */
export const deploymentChecks: readonly DeploymentCheck[] = [
  {
    name: 'cluster',
    only: 'cluster',
    meaning: 'Chats of a part that is out of reach cannot publish. Instances connect to each node.',
    fix: 'Open the ports of all nodes to the instances. CLUSTER NODES and CLUSTER INFO name what is broken.',
    look: lookAtCluster
  },
  {
    name: 'sentinel',
    only: 'sentinel',
    meaning: 'If a majority of the Sentinels is out of reach, or does not agree, no failover happens.',
    fix: 'Open the ports of all Sentinels, and look at SENTINEL CKQUORUM on each of them.',
    look: lookAtSentinels
  },
  {
    name: 'rights',
    meaning: 'Publishing, reading or subscribing fails where the plugin needs a command or a name that is not allowed.',
    fix: 'Give the user the rights that docs/reference.md lists.',
    look: lookAtRights
  },
  {
    name: 'pub/sub',
    meaning: 'Events reach other instances late: only by the polls of quiet chats.',
    fix: 'Allow PUBLISH and SUBSCRIBE, and let the nodes of a Cluster reach each other on their bus ports.',
    look: lookAtPubSub
  },
  {
    name: 'publishing',
    meaning: 'Publishing fails: the probe of GET /api/health/pubsub does.',
    fix: 'Mend what the other findings name. The message says what Redis answered.',
    look: lookAtPublishing
  },
  {
    name: 'sharing',
    meaning: 'Instances share chats if they use the same Redis, database and keyPrefix.',
    fix: 'Give apps that are not meant to share chats a keyPrefix or a database of their own.',
    look: lookAtSharing
  }
]

async function lookAtCluster ({ target, primary }: Deployment): Promise<Sight> {
  const [info, nodes] = await Promise.all(['INFO', 'NODES'].map((what) =>
    primary.client.call('CLUSTER', what) as Promise<string>)) as [string, string]
  const addresses = addressesOf(nodes)
  const lost = await Promise.all(addresses.map((address) => whyOutOfReach({ ...target.login, ...address })))
  const reasons = lost.filter((reason) => reason !== undefined)
  const state = /cluster_state:(\w+)/.exec(info)?.[1]
  const found = `${addresses.length} nodes, cluster_state ${state}`
  if (reasons.length > 0) return failure(`${found}. Out of reach: ${reasons.join('; ')}`)
  return state === 'ok' ? ok(found) : failure(found)
}

/** Returns the addresses in a reply of CLUSTER NODES, which has lines such as `<id> 10.0.0.1:6379@16379 master …`. */
function addressesOf (nodes: string): { host: string, port: number }[] {
  return [...nodes.matchAll(/^\w+ (\S+):(\d+)@/gm)].map(([, host = '', port]) => ({ host, port: Number(port) }))
}

/** Returns why a server does not answer a command, or `undefined` if it does. */
async function whyOutOfReach (options: ClientOptions, command = ['PING']): Promise<string | undefined> {
  const client = openNode(options)
  const [name, ...args] = command as [string, ...string[]]
  try {
    await connect(client)
    await client.call(name, ...args)
  } catch (error) {
    return `${addressOf(options)} ${reasonOf(error)}`
  } finally {
    client.disconnect()
  }
}

async function lookAtSentinels ({ target }: Deployment): Promise<Sight> {
  const { nodes, name, login: { sentinelPassword, tls } } = target
  const login = { ...sentinelPassword && { password: sentinelPassword }, ...tls && { tls } }
  const question = ['SENTINEL', 'CKQUORUM', name]
  const lost = await Promise.all(nodes.map((node) => whyOutOfReach({ ...login, ...node }, question)))
  const reasons = lost.filter((reason) => reason !== undefined)
  if (reasons.length === 0) return ok(`${nodes.length} Sentinels agree`)
  return (reasons.length * 2 < nodes.length ? warning : failure)(reasons.join('; '))
}

async function lookAtRights (deployment: Deployment): Promise<Sight> {
  const { client, primary, sharded, database, keyPrefix } = deployment
  const table = {
    ...commands,
    ...sharded && shardedCommands,
    ...client instanceof Cluster && { cluster: ['INFO'] },
    ...database !== 0 && { select: [String(database)] }
  }
  const missing = await missingRights(primary.client, table, deployment.names())
  if (missing.length === 0) return ok('all commands that the plugin needs')
  const rules = missing.join(' ').replaceAll('<keyPrefix>', keyPrefix)
  return failure(`missing: ${rules}`, `ACL SETUSER <user> ${rules}`)
}

async function lookAtPubSub (deployment: Deployment): Promise<Sight> {
  const { servers, primary, sharded } = deployment
  const ways = await Promise.all(servers.map(async (server) => {
    return await passes(deployment, { publisher: server, subscriber: primary })
  }))
  const shards = sharded ? await Promise.all(servers.map((server) => passesShard(deployment, server))) : []
  const lost = [...ways, ...shards].filter((each) => each !== undefined)
  const found = `probes received: ${ways.length + shards.length}`
  return lost.length === 0 ? ok(found) : failure(lost.join('; '))
}

/** Returns what went wrong with a probe that one server publishes and another one delivers, or `undefined`. */
async function passes (
  deployment: Deployment, { publisher, subscriber }: { publisher: Server, subscriber: Server }
): Promise<string | undefined> {
  const { channel } = deployment.names()
  const connection = await deployment.open(subscriber.client)
  const received = new Promise((resolve) => connection.once('message', resolve))
  try {
    await connection.subscribe(channel)
    await publisher.client.publish(channel, '')
    await withTimeout(received, timing.healthTimeout)
    await connection.unsubscribe(channel)
  } catch (error) {
    return `from ${publisher.address} to ${subscriber.address}: ${reasonOf(error)}`
  }
}

/** The same for a shard channel, which stays on the server that owns its slot. */
async function passesShard (deployment: Deployment, server: Server): Promise<string | undefined> {
  const connection = await deployment.open(server.client)
  const received = new Promise((resolve) => connection.once('smessage', resolve))
  try {
    const channel = await subscribeToShard(deployment, connection)
    await server.client.call('SPUBLISH', channel, '')
    await withTimeout(received, timing.healthTimeout)
    await connection.sunsubscribe(channel)
  } catch (error) {
    return `a shard channel of ${server.address}: ${reasonOf(error)}`
  }
}

/** Names of slots are random: tries others until the server owns one. */
async function subscribeToShard (deployment: Deployment, connection: Redis): Promise<string> {
  for (;;) {
    const { channel } = deployment.names()
    try {
      await connection.ssubscribe(channel)
      return channel
    } catch (error) {
      if (!reasonOf(error).startsWith('MOVED')) throw error
    }
  }
}

/** Publishes the probe of the health route. */
async function lookAtPublishing ({ client, keyPrefix, sharded }: Deployment): Promise<Sight> {
  const pubsub = new RedisPubSub({ client, keyPrefix, sharded, log: silentLogger })
  try {
    const live = new Promise<void>((resolve) => {
      const done = (): void => resolve()
      pubsub.follow('doctor', { live: done, lost: done, receive: done })
    })
    // The health check says so if the subscription is not confirmed.
    await Promise.allSettled([withTimeout(live, timing.redisSilence / 2)])
    const { error } = await pubsub.health()
    return error === undefined ? ok('a probe was published') : failure(`${error.code}: ${error.message}`)
  } finally {
    await pubsub.close()
  }
}

/** So many chats are counted, at most. */
const CHATS = 100

/** Each instance subscribes once to each of its chats. Each node knows its own subscribers only. */
async function lookAtSharing ({ client, keyPrefix, database }: Deployment): Promise<Sight> {
  const nodes = client instanceof Cluster ? client.nodes() : [client]
  const pattern = `${keyPrefix}${database === 0 ? '' : `@${database}`}{${CHAT}*`
  const lists = await Promise.all(nodes.map((node) => node.pubsub('CHANNELS', pattern) as Promise<string[]>))
  const chats = [...new Set(lists.flat())]
  const some = chats.slice(0, CHATS)
  const replies = await Promise.all(nodes.map((node) => node.pubsub('NUMSUB', ...some) as Promise<unknown[]>))
  // A reply names each channel before its number.
  const counts = some.map((_, n) => replies.reduce<number>((sum, reply) => sum + Number(reply[2 * n + 1]), 0))
  return ok(
    `keyPrefix ${JSON.stringify(keyPrefix)}, database ${database}. ` +
    `Open chats: ${chats.length}. Instances: ${Math.max(0, ...counts)} or more`
  )
}
