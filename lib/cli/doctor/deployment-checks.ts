import { Cluster, Redis } from 'ioredis'
import { silentLogger } from '../../core/logger.ts'
import { timing } from '../../core/timing.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import { CHAT } from '../../pubsub/names.ts'
import { RedisPubSub } from '../../pubsub/redis/redis-pubsub.ts'
import { addressOf, type Address, type ClientOptions, type Target } from '../target.ts'
import { connect, fixFor, knownFix, openNode, reasonOf } from './connect.ts'
import type { Deployment } from './deployment.ts'
import { failure, ok, warning, type Check, type Sight } from './findings.ts'
import { commands, missingRights, shardedCommands } from './rights.ts'
import type { Server } from './server.ts'

/** A check of all servers together. */
interface DeploymentCheck extends Check<Deployment> {
  /** The only kind of target to look at. @default all */
  only?: Target['kind']
  /** Whether it asks each node by itself, so that it can say why a connection to all of them fails. */
  alone?: true
}

/** Looked at once for all servers. */
export const deploymentChecks: readonly DeploymentCheck[] = [
  {
    name: 'cluster',
    only: 'cluster',
    alone: true,
    meaning: 'Chats of a part that is out of reach cannot publish. Instances connect to each node.',
    fix: 'Start the nodes that are out of reach, and open their ports to the instances. CLUSTER NODES lists them.',
    look: lookAtCluster
  },
  {
    name: 'sentinel',
    only: 'sentinel',
    alone: true,
    meaning: 'Instances ask the Sentinels for the primary. Without a majority that agrees, no failover happens.',
    fix: 'Start all Sentinels, open their ports, and look at SENTINEL CKQUORUM on each of them.',
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

async function lookAtCluster ({ target: { nodes, login } }: Deployment): Promise<Sight> {
  const replies = nodes.map((node) => ask({ ...login, ...node }, ['CLUSTER', 'NODES']))
  try {
    const [list] = await Promise.any(replies)
    return await lookAtNodes(addressesOf(list as string), login)
  } catch (error) {
    const { errors } = error as AggregateError // Nothing else rejects.
    const found = nodes.map((node, n) => `${addressOf(node)} ${reasonOf(errors[n])}`).join('; ')
    if (found.includes('NOPERM')) throw errors[0]
    return failure(`no node answers: ${found}`, fixFor(found))
  }
}

const SLOTS = 16_384

/** Each node has a view of its own: one may not know yet what another one has lost. */
async function lookAtNodes (nodes: Address[], login: ClientOptions): Promise<Sight> {
  const views: string[] = []
  const reasons = await failuresOf(nodes, async (node) => {
    const [view] = await ask({ ...login, ...node }, ['CLUSTER', 'INFO'])
    views.push(view as string)
  })
  const state = views.every((view) => view.includes('cluster_state:ok')) ? 'ok' : 'fail'
  const uncovered = SLOTS - Math.min(...views.map((view) => Number(/cluster_slots_ok:(\d+)/.exec(view)?.[1])))
  const found = `${nodes.length} nodes, cluster_state ${state}` +
    (uncovered > 0 ? `, ${uncovered} of ${SLOTS} slots without a node` : '')
  if (reasons !== '') return failure(`${found}. Out of reach: ${reasons}`)
  return state === 'ok' && uncovered === 0 ? ok(found) : failure(found, ASSIGN)
}

const ASSIGN = 'redis-cli --cluster check HOST:PORT names the slots, and --cluster fix HOST:PORT assigns them.'

/** Returns the addresses in a reply of CLUSTER NODES, which has lines such as `<id> 10.0.0.1:6379@16379 master …`. */
function addressesOf (nodes: string): Address[] {
  return [...nodes.matchAll(/^\w+ (\S+):(\d+)@/gm)].map(([, host = '', port]) => ({ host, port: Number(port) }))
}

/** Sends commands to a server by a connection of their own. Rejects with the reason. */
async function ask (options: ClientOptions, ...commands: string[][]): Promise<unknown[]> {
  const client = openNode(options)
  try {
    await connect(client)
    return await Promise.all(commands.map(([name = '', ...args]) => client.call(name, ...args)))
  } finally {
    client.disconnect()
  }
}

/** Does something with each server. Returns why it fails with some of them, or an empty string. */
async function failuresOf (nodes: readonly Address[], act: (node: Address) => Promise<unknown>): Promise<string> {
  const reasons = await Promise.all(nodes.map(async (node) => {
    try {
      await act(node)
      return []
    } catch (error) {
      return [`${addressOf(node)} ${reasonOf(error)}`]
    }
  }))
  return reasons.flat().join('; ')
}

async function lookAtSentinels ({ target: { nodes, name, login } }: Deployment): Promise<Sight> {
  const { sentinelPassword: password, tls } = login
  const options: ClientOptions = { ...password && { password }, ...tls && { tls } }
  const questions = [['SENTINEL', 'CKQUORUM', name], ['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name]]
  const primaries: Address[] = []
  const found = await failuresOf(nodes, async (node) => {
    const [, reply] = await ask({ ...options, ...node }, ...questions)
    const [host, port] = reply as [string, string]
    primaries.push({ host, port: Number(port) })
  })
  if (primaries.length * 2 <= nodes.length) return failure(found, knownFix(found))
  const lost = await failuresOf(primaries.slice(0, 1), (primary) => ask({ ...login, ...primary }, ['PING']))
  if (lost !== '') return failure(`the primary that they name: ${lost}`, START)
  return found === '' ? ok(`${nodes.length} Sentinels agree`) : warning(found)
}

const START = 'Start this Redis, or open its port to the instances. SENTINEL REPLICAS lists what could replace it.'

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
