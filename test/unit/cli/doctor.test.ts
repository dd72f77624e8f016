import t from 'tap'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import type { Redis } from 'ioredis'
import { fixFor } from '../../../lib/cli/doctor/connect.ts'
import { findingOf, type Sight } from '../../../lib/cli/doctor/findings.ts'
import { Deployment } from '../../../lib/cli/doctor/deployment.ts'
import { chooseTarget } from '../../../lib/cli/target.ts'
import { deploymentChecks } from '../../../lib/cli/doctor/deployment-checks.ts'
import { formatReport } from '../../../lib/cli/doctor/report.ts'
import { commands, ruleFor, shardedCommands } from '../../../lib/cli/doctor/rights.ts'
import { Server } from '../../../lib/cli/doctor/server.ts'
import { latencyOf, outputBuffers, serverChecks } from '../../../lib/cli/doctor/server-checks.ts'

interface FakeServer { info?: object, config?: Record<string, string>, scans?: string[][] }

/** Looks at a server with these replies. */
async function look (name: string, { info = {}, config = {}, scans = [[]] }: FakeServer = {}): Promise<Sight> {
  let scan = 0
  const client = {
    info: async () => Object.entries(info).map((pair) => pair.join(':')).join('\r\n'),
    config: async (_get: string, setting: string) => setting in config ? [setting, config[setting]] : [],
    scan: async () => [scan + 1 === scans.length ? '0' : '7', scans[scan++ % scans.length]]
  }
  const check = serverChecks.find((each) => each.name === name)
  if (check === undefined) throw new Error(`There is no check ${name}`)
  return await check.look(new Server(client as unknown as Redis, 'h:1', 'rt:'))
}

/** Runs a check of all servers on a part of a deployment. */
async function lookAtAll (name: string, deployment: object): Promise<Sight> {
  const check = deploymentChecks.find((each) => each.name === name)
  if (check === undefined) throw new Error(`There is no check ${name}`)
  return await check.look(deployment as Deployment)
}

/** The first byte of a TLS connection. */
const TLS_HANDSHAKE = 0x16

const table: [check: string, level: string, server: FakeServer][] = [
  ['version', 'ok', { info: { redis_version: '7.0.15' } }],
  ['version', 'ok', { info: { redis_version: '7.2.4', valkey_version: '8.0.1' } }],
  ['version', 'warning', { info: { redis_version: '6.2.0' } }],
  ['version', 'failure', { info: { redis_version: '5.0.14' } }],
  ['role', 'ok', { info: { role: 'master' } }],
  ['role', 'failure', { info: { role: 'slave' } }],
  ['eviction', 'ok', { info: { maxmemory: 0, maxmemory_policy: 'allkeys-lru' } }],
  ['eviction', 'ok', { info: { maxmemory: 1, maxmemory_policy: 'noeviction' } }],
  ['eviction', 'failure', { info: { maxmemory: 1, maxmemory_policy: 'volatile-ttl' } }],
  ['memory', 'ok', { info: { used_memory: 100, maxmemory: 0 } }],
  ['memory', 'ok', { info: { used_memory: 90, maxmemory: 100 } }],
  ['memory', 'warning', { info: { used_memory: 91, maxmemory: 100 } }],
  ['persistence', 'ok', { info: { aof_enabled: 1 }, config: { appendfsync: 'everysec' } }],
  ['persistence', 'warning', { info: { aof_enabled: 1 }, config: { appendfsync: 'no' } }],
  ['persistence', 'warning', { info: { aof_enabled: 0 }, config: { save: '3600 1' } }],
  ['persistence', 'warning', { info: { aof_enabled: 0 } }],
  ['saving', 'ok', { info: { rdb_last_bgsave_status: 'ok', aof_last_write_status: 'ok' } }],
  ['saving', 'failure', { info: { rdb_last_bgsave_status: 'err' } }],
  ['replication', 'ok', { info: { connected_slaves: 0 } }],
  ['replication', 'ok', { info: { connected_slaves: 1 }, config: { 'min-replicas-to-write': '1' } }],
  ['replication', 'warning', { info: { connected_slaves: 2 }, config: { 'min-replicas-to-write': '0' } }],
  ['output buffer', 'ok', {
    config: { 'client-output-buffer-limit': 'normal 0 0 0 slave 1 1 60 pubsub 33554432 8388608 60' }
  }],
  ['output buffer', 'unknown', {}],
  ['other keys', 'ok', { scans: [['rt:{chat:1}:m', 'rt:{chat:1}:i:key'], ['rt:!{fastify-realtime:revoked}:s']] }],
  ['other keys', 'warning', { scans: [['rt:{chat:1}:m', 'rt:hunter2']] }]
]

for (const [check, level, server] of table) {
  t.test(`${check} is ${level} for ${JSON.stringify(server)}`, async (t) => {
    const sight = await look(check, server)
    t.equal(sight.level, level)
    t.notMatch(sight.found, /undefined|NaN|hunter2/)
  })
}

t.test('no primary is known before the nodes of a Cluster are', async (t) => {
  const target = chooseTarget({ cluster: '127.0.0.1:1' }, {})
  const deployment = new Deployment({ target, keyPrefix: 'rt:', sharded: false })
  t.teardown(() => deployment.close())
  t.throws(() => deployment.primary, { message: 'no primary is known' })
  t.equal(deployment.database, 0)
})

t.test('each probe that does not come through is named', async (t) => {
  const refused = async (): Promise<never> => { throw new Error('ERR refused') }
  const deployment = {
    sharded: true,
    primary: { address: 'a:1' },
    servers: [{ address: 'a:1' }, { address: 'b:2' }],
    names: () => ({ channel: 'c' }),
    open: async () => ({ once () {}, subscribe: refused, ssubscribe: refused })
  }
  t.same(await lookAtAll('pub/sub', deployment), {
    level: 'failure',
    found: 'from a:1 to a:1: ERR refused; from b:2 to a:1: ERR refused; ' +
      'a shard channel of a:1: ERR refused; a shard channel of b:2: ERR refused'
  })
})

t.test('a Sentinel is asked with the password and the TLS of Sentinels', async (t) => {
  const server = createServer((socket) => socket.once('data', (data) => {
    t.equal(data[0], TLS_HANDSHAKE)
    socket.destroy()
  }))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const login = { sentinelPassword: 'hunter2', tls: {} }
  const sight = await lookAtAll('sentinel', { target: { nodes: [{ host: '127.0.0.1', port }], name: 'main', login } })
  t.match(sight, { level: 'failure', found: `127.0.0.1:${port} ` })
  t.notMatch(sight.found, 'hunter2')
})

t.test('only a bounded number of keys is looked at', async (t) => {
  t.match(await look('other keys', { scans: [['rt:{chat:1}:m'], ['rt:{chat:2}:m']].flatMap((page) => [page]) }), {
    found: 'keys of 2 chats and channels'
  })
  const endless = Array.from({ length: 100 }, (_, n) => [`rt:{chat:${n}}:m`])
  t.match(await look('other keys', { scans: endless }), { found: /^keys of 20 chats .*, among the first keys$/ })
})

t.test('a limit of the output buffer is bad if it is small, or if there is none', async (t) => {
  const limits = (pubsub: string, normal = '0 0 0'): string => outputBuffers(`normal ${normal} pubsub ${pubsub}`).level
  t.equal(limits('33554432 8388608 60'), 'ok')
  t.equal(limits('33554432 0 0'), 'ok')
  t.equal(limits('0 0 0'), 'warning')
  t.equal(limits('1000 0 0'), 'failure')
  t.equal(limits('33554432 1000 60'), 'failure')
  t.equal(limits('33554432 8388608 60', '1000 0 0'), 'failure')
})

t.test('latency is the median', async (t) => {
  t.match(latencyOf([1, 500, 2]), { level: 'ok', found: 'median 2.0 ms, slowest 500.0 ms of 3 pings' })
  t.match(latencyOf([21, 22, 1]), { level: 'warning' })
})

t.test('an error of Redis becomes the rule that allows the command', async (t) => {
  t.equal(ruleFor('get', 'NOPERM this user has no permissions to run the \'get\' command'), '+get')
  t.equal(ruleFor('get', 'ERR unknown command \'get\', with args beginning with: '), '+get')
  t.equal(ruleFor('get', 'NOPERM No permissions to access a key'), '~<keyPrefix>*')
  const before7 = 'NOPERM this user has no permissions to access one of the keys used as arguments'
  t.equal(ruleFor('get', before7), '~<keyPrefix>*')
  t.equal(ruleFor('publish', 'NOPERM No permissions to access a channel'), '&<keyPrefix>*')
  t.equal(ruleFor('get', 'WRONGTYPE Operation against a key holding the wrong kind of value'), undefined)
})

t.test('the commands are those that the reference lists', async (t) => {
  const reference = readFileSync(new URL('../../../docs/reference.md', import.meta.url), 'utf8')
  const [, rules = ''] = /```acl\n([^]*?)```/.exec(reference) ?? []
  const listed = [...rules.matchAll(/\+(\w+)/g)].map(([, command]) => command)
  // Tried on a connection of their own: the pub/sub check subscribes. QUIT would end the one of the others.
  const elsewhere = ['subscribe', 'unsubscribe', 'quit']
  t.same([...Object.keys(commands), ...elsewhere].sort(), listed.sort())
  t.match(reference, `\`+${Object.keys(shardedCommands)[0]} +ssubscribe +sunsubscribe\``)
})

t.test('each check says what a bad result means and what mends it', async (t) => {
  for (const { name, meaning, fix } of [...serverChecks, ...deploymentChecks]) {
    t.match(meaning, /^[A-Z].*\.$/, name)
    t.match(fix, /^[A-Z].*\.$/, name)
  }
})

t.test('the report has the meaning and the fix of what is not well', async (t) => {
  const look = async (): Promise<Sight> => ({ level: 'ok', found: '' })
  const check = { name: 'memory', meaning: 'It is full.', fix: 'Raise it.', look }
  const findings = [
    findingOf(check, { level: 'ok', found: 'empty' }),
    findingOf(check, { level: 'warning', found: 'full' }, 'h:1'),
    findingOf(check, { level: 'failure', found: 'over', fix: 'Raise it now.' }),
    findingOf(check, { level: 'unknown', found: 'NOPERM' })
  ]
  t.equal(formatReport({ redis: 'redis://h', healthy: false, findings }), [
    'redis://h',
    'ok   memory: empty',
    'WARN memory of h:1: full',
    '     It is full.',
    '     -> Raise it.',
    'FAIL memory: over',
    '     It is full.',
    '     -> Raise it now.',
    '??   memory: NOPERM',
    '     It is full.',
    '     -> Raise it.',
    'failures: 1, warnings: 1, not looked at: 1',
    ''
  ].join('\n'))
})

t.test('the reason of a failed connection has its fix', async (t) => {
  t.match(fixFor('WRONGPASS invalid username-password pair or user is disabled.'), /password/)
  t.match(fixFor('no reply within 5000 ms'), /does not answer/)
  t.match(fixFor('DEPTH_ZERO_SELF_SIGNED_CERT'), /NODE_EXTRA_CA_CERTS/)
  t.match(fixFor('ERR This instance has cluster support disabled'), /--redis/)
  t.match(fixFor('ECONNREFUSED'), /^Start Redis/)
})
