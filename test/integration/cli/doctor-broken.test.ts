import t, { type Test } from 'tap'
import type { Finding } from '../../../lib/cli/doctor/findings.ts'
import type { Report } from '../../../lib/cli/doctor/report.ts'
import { runToEnd } from '../../support/command.ts'
import { freePort } from '../../support/free-port.ts'
import { RedisCluster, type ClusterNode } from '../../support/redis-cluster.ts'
import { client, startRedis } from '../../support/redis.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'

t.setTimeout(120_000)
t.beforeEach(nothingUnhandled)

const env = { REDIS_PASSWORD: 'hunter2', SENTINEL_PASSWORD: 'hunter2' }

/** Resolves with the failures that the doctor finds, and checks that its exit status says so. */
async function failures (t: Test, ...args: string[]): Promise<Map<string, Finding>> {
  const { status, stdout, stderr } = await runToEnd(t, ['doctor', '--json', ...args], { env })
  const { healthy, findings } = JSON.parse(stdout) as Report
  t.same([status, healthy], [1, false])
  t.notMatch(stdout + stderr, /hunter/)
  const failures = findings.filter(({ level }) => level === 'failure')
  t.ok(failures.every(({ meaning, fix }) => meaning !== undefined && fix !== undefined))
  return new Map(failures.map((finding) => [finding.check, finding]))
}

t.test('a Cluster that is not whole', async (t) => {
  const cluster = await RedisCluster.start()
  t.teardown(() => cluster.stop())
  const nodes = cluster.addresses.map(({ host, port }) => `${host}:${port}`)
  const [first, , third, , , sixth] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode, ...ClusterNode[]]
  const look = (): Promise<Map<string, Finding>> => failures(t, '--cluster', nodes.join(','))
  /** Resolves once all running nodes are in this state. */
  const is = async (state: string): Promise<void> => {
    const running = cluster.nodes.filter(({ server }) => server.runs)
    await Promise.all(running.map(({ admin }) =>
      until(() => admin.call('CLUSTER', 'INFO') as Promise<string>, (info) => info.includes(`cluster_state:${state}`))))
  }
  const requireAll = async (value: string): Promise<void> => {
    for (const { admin } of cluster.nodes) await admin.config('SET', 'cluster-require-full-coverage', value)
  }

  await t.test('has slots without a node, though its state is ok', async (t) => {
    await requireAll('no')
    // The other nodes never hear of it.
    await first.admin.call('CLUSTER', 'DELSLOTS', 5, 6, 7)
    await is('ok')
    t.match((await look()).get('cluster'), {
      found: '6 nodes, cluster_state ok, 3 of 16384 slots without a node', fix: /^redis-cli --cluster check/
    })
    await first.admin.call('CLUSTER', 'ADDSLOTS', 5, 6, 7)
    await requireAll('yes')
    await is('ok')
  })

  await t.test('has lost a primary without a replica', async (t) => {
    for (const node of [sixth, third]) await node?.server.kill()
    await is('fail')
    const found = await look()
    t.match(found.get('connection'), { found: /^no reply/, fix: 'See the finding cluster.' })
    t.match(found.get('cluster'), { found: /cluster_state fail, 5461 of 16384 slots.* Out of reach: /, fix: /^Start/ })
    for (const node of [nodes[2], nodes[5]]) t.match(found.get('cluster')?.found, `${node} ECONNREFUSED`)
  })

  await t.test('is frozen or down', async (t) => {
    await Promise.all(cluster.nodes.filter(({ server }) => server.runs).map(({ server }) => server.freeze()))
    t.match((await look()).get('cluster'), {
      found: new RegExp(`^no node answers: ${nodes[0]} no reply within 5000 ms; .*${nodes[5]} ECONNREFUSED$`),
      fix: /accepts connections and does not answer/
    })
    await Promise.all(cluster.nodes.map(({ server }) => server.kill()))
    t.match((await look()).get('cluster'), { found: `${nodes[0]} ECONNREFUSED`, fix: /^Start Redis/ })
  })
})

t.test('no Cluster, the wrong password, or a user without rights', async (t) => {
  const redis = await startRedis(t)
  t.match((await failures(t, '--cluster', `127.0.0.1:${redis.port}`)).get('cluster'), { fix: /--redis/ })
  const closed = await startRedis(t, ['--cluster-enabled', 'yes', '--requirepass', 'hunter3'])
  const found = (await failures(t, '--cluster', `127.0.0.1:${closed.port}`)).get('cluster')
  t.match(found, { found: /^no node answers: .* WRONGPASS/, fix: /password/ })
  const limited = await startRedis(t, ['--cluster-enabled', 'yes', '--requirepass', 'hunter2'])
  await client(t, limited.url.replace('//', '//:hunter2@')).call('ACL', 'SETUSER', 'default', '-cluster')
  // It may not look at the nodes, so it can't say more.
  t.match([...await failures(t, '--cluster', `127.0.0.1:${limited.port}`)], [['connection', { fix: /^None of these/ }]])
})

t.test('Sentinels that do not lead to a primary', async (t) => {
  const primary = await startRedis(t)
  const sentinel = await RedisServer.start({
    sentinel: `sentinel monitor main 127.0.0.1 ${primary.port} 1\nsentinel down-after-milliseconds main 60000`
  })
  t.teardown(() => sentinel.stop())
  const look = (port: number, name = 'main'): Promise<Map<string, Finding>> =>
    failures(t, '--sentinel', `127.0.0.1:${port}`, '--name', name)
  const port = await freePort()
  for (const [found, expected] of [
    [await look(sentinel.port, 'other'), { found: /No such master/, fix: /correct --name/ }],
    [await look(port), { found: `127.0.0.1:${port} ECONNREFUSED`, fix: /^Start all Sentinels/ }],
    [await look(primary.port), { found: /unknown command/, fix: /^This is no Sentinel/ }]
  ] as const) {
    t.match(found.get('connection'), { fix: 'See the finding sentinel.' })
    t.match(found.get('sentinel'), expected)
  }
  await primary.stop()
  const named = `the primary that they name: 127.0.0.1:${primary.port} ECONNREFUSED`
  t.match((await look(sentinel.port)).get('sentinel'), { found: named, fix: /^Start this Redis/ })
})
