import { evictionPolicy } from '../../pubsub/redis/eviction.ts'
import { failure, ok, warning, type Check, type Sight } from './findings.ts'
import type { Server } from './server.ts'

const PINGS = 20
/** A publish takes one round trip. Milliseconds. */
const SLOW = 20
const MEBIBYTE = 1_048_576

/** Looked at in each primary. Read from the top to the bottom. */
export const serverChecks: readonly Check<Server>[] = [
  {
    name: 'version',
    meaning: 'The plugin is tested with Redis 7 and Valkey; shard channels need Redis 7.',
    fix: 'Update Redis to 7 or newer, or use Valkey.',
    async look (server) {
      const valkey = await server.info('valkey_version')
      if (valkey !== '') return ok(`Valkey ${valkey}`)
      const version = await server.info('redis_version')
      const found = `Redis ${version}`
      return parseInt(version) >= 7 ? ok(found) : parseInt(version) === 6 ? warning(found) : failure(found)
    }
  },
  {
    name: 'role',
    meaning: 'A replica accepts no writes, so nothing can be published.',
    fix: 'Use the address of the primary, or give a client for Sentinel or Cluster as the option redis.',
    async look (server) {
      const role = await server.info('role')
      return role === 'master' ? ok('a primary') : failure('a replica')
    }
  },
  {
    name: 'latency',
    meaning: 'Each publish waits for one round trip to Redis.',
    fix: 'Run Redis near the instances, and look for slow commands with SLOWLOG GET.',
    async look (server) {
      const times: number[] = []
      for (let n = 0; n < PINGS; n++) {
        const started = performance.now()
        await server.client.ping()
        times.push(performance.now() - started)
      }
      return latencyOf(times)
    }
  },
  {
    name: 'eviction',
    meaning: 'If its memory is full, Redis deletes events of chats, and the records that prevent duplicates.',
    fix: 'CONFIG SET maxmemory-policy noeviction, and the same in redis.conf.',
    async look (server) {
      const policy = evictionPolicy(await server.allInfo())
      return policy === undefined ? ok('nothing is deleted early') : failure(`maxmemory-policy ${policy}`)
    }
  },
  {
    name: 'memory',
    meaning: 'If its memory is full, Redis refuses to write, and publishing fails.',
    fix: 'Raise maxmemory, or lower history.size or history.ttlMs.',
    async look (server) {
      const [used, most] = [Number(await server.info('used_memory')), Number(await server.info('maxmemory'))]
      const found = `${mebibytes(used)} used, maxmemory ${most === 0 ? 'not set' : mebibytes(most)}`
      return most > 0 && used > 0.9 * most ? warning(found) : ok(found)
    }
  },
  {
    name: 'persistence',
    meaning: 'A restart of Redis loses events that were acknowledged. Clients get a reset, and reload their chats.',
    fix: 'CONFIG SET appendonly yes, and the same in redis.conf. appendfsync everysec loses a second at most.',
    look: lookAtPersistence
  },
  {
    name: 'saving',
    meaning: 'Redis cannot save its data, and may refuse to write: then publishing fails.',
    fix: 'Look into the log of Redis. Usually its disk is full, or it may not write to its directory.',
    async look (server) {
      const fields = ['rdb_last_bgsave_status', 'aof_last_bgrewrite_status', 'aof_last_write_status']
      const states = await Promise.all(fields.map(async (name) => [name, await server.info(name)] as const))
      const bad = states.filter(([, state]) => state !== 'ok' && state !== '')
      return bad.length === 0 ? ok('the last saving succeeded') : failure(bad.map((each) => each.join(' ')).join(', '))
    }
  },
  {
    name: 'output buffer',
    meaning: 'Redis disconnects an instance that it cannot send to at once. It reconnects, and reads what it missed. ' +
      'If the limit is too small, that happens in each burst; without one, a frozen instance can fill the memory.',
    fix: 'CONFIG SET client-output-buffer-limit "normal 0 0 0 pubsub 32mb 8mb 60", and the same in redis.conf.',
    async look (server) {
      return outputBuffers(await server.config('client-output-buffer-limit'))
    }
  },
  {
    name: 'replication',
    meaning: 'A primary that has lost its replicas goes on to acknowledge events, and a failover then loses them. ' +
      'Clients get a reset.',
    fix: 'CONFIG SET min-replicas-to-write 1 and min-replicas-max-lag 10, and the same in redis.conf.',
    async look (server) {
      const replicas = Number(await server.info('connected_slaves'))
      if (replicas === 0) return ok('no replicas')
      const least = Number(await server.config('min-replicas-to-write'))
      const found = `${replicas} replicas, min-replicas-to-write ${least}`
      return least > 0 ? ok(found) : warning(found)
    }
  },
  {
    name: 'other keys',
    meaning: 'Another program uses keys with this prefix. If it deletes those of the plugin, events are lost.',
    fix: 'Give each app a keyPrefix or a database of its own.',
    look: lookAtKeys
  }
]

export function latencyOf (times: readonly number[]): Sight {
  const sorted = [...times].sort((one, other) => one - other)
  const [median, worst] = [sorted[sorted.length >> 1], sorted.at(-1)] as [number, number] // There are always some.
  const found = `median ${median.toFixed(1)} ms, slowest ${worst.toFixed(1)} ms of ${times.length} pings`
  return median > SLOW ? warning(found) : ok(found)
}

async function lookAtPersistence (server: Server): Promise<Sight> {
  if (await server.info('aof_enabled') === '1') {
    const fsync = await server.config('appendfsync')
    const found = `appendonly yes, appendfsync ${fsync}`
    return fsync === 'no' ? warning(found) : ok(found)
  }
  const save = await server.config('save')
  return warning(save === '' ? 'no persistence' : `snapshots only (save ${save})`)
}

/** `limits` is a list of: class, hard limit, soft limit, seconds. A limit of 0 is none. */
export function outputBuffers (limits: string): Sight {
  const [, hard, soft] = /\bpubsub (\d+) (\d+)/.exec(limits) ?? []
  const [, normal] = /\bnormal (\d+)/.exec(limits) ?? []
  if (hard === undefined) return { level: 'unknown', found: 'Redis reports no limit for pubsub' }
  const [one, two, three] = [hard, soft, normal].map((limit) => Number(limit) === 0 ? 'no limit' : mebibytes(limit))
  const found = `pubsub ${one}, for a while ${two}; normal ${three}`
  if (Number(hard) === 0 && Number(soft) === 0) return warning(found)
  const tooSmall = isBelow(hard, 8) || isBelow(soft, 1) || isBelow(normal, 8)
  return tooSmall ? failure(found) : ok(found)
}

function isBelow (limit: string | undefined, size: number): boolean {
  return Number(limit) > 0 && Number(limit) < size * MEBIBYTE
}

function mebibytes (bytes: number | string | undefined): string {
  return `${(Number(bytes) / MEBIBYTE).toFixed(1)} MiB`
}

/** So many keys are looked at, at most: a Redis can hold millions. */
const SCANS = 20

async function lookAtKeys ({ client, keyPrefix }: Server): Promise<Sight> {
  const ours = /^!?\{[^{}]+\}:[a-z](:|$)/
  const chats = new Set<string>()
  const others: string[] = []
  let cursor = '0'
  for (let scan = 0; scan < SCANS; scan++) {
    const [next, keys] = await client.scan(cursor, 'MATCH', `${keyPrefix}*`, 'COUNT', 500)
    for (const name of keys.map((key) => key.slice(keyPrefix.length))) {
      if (ours.test(name)) chats.add(name.slice(0, name.indexOf('}')))
      else others.push(name)
    }
    cursor = next
    if (cursor === '0') break
  }
  const found = `keys of ${chats.size} chats and channels${cursor === '0' ? '' : ', among the first keys'}`
  // Not their names: those of another program can hold anything.
  return others.length === 0 ? ok(found) : warning(`${found}, and ${others.length} keys of another program`)
}
