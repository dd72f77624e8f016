import t from 'tap'
import { runToEnd } from '../../support/command.ts'
import { freePort } from '../../support/free-port.ts'
import { RedisCluster } from '../../support/redis-cluster.ts'
import { RedisSentinel } from '../../support/redis-sentinel.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import type { Report } from '../../../lib/cli/doctor/report.ts'

t.beforeEach(nothingUnhandled)

t.test('each primary of a Cluster is looked at, and a node that is out of reach is found', async (t) => {
  const cluster = await RedisCluster.start()
  t.teardown(() => cluster.stop())
  const nodes = cluster.addresses.map(({ host, port }) => `${host}:${port}`)
  const doctor = async (): Promise<Report> => {
    const { stdout } = await runToEnd(t, ['doctor', '--json', '--sharded', '--cluster', nodes.join(',')])
    return JSON.parse(stdout) as Report
  }
  const report = await doctor()
  t.same(report.findings.filter(({ level }) => level === 'failure'), [])
  const versions = report.findings.filter(({ check }) => check === 'version')
  t.same(versions.map(({ server }) => server).sort(), nodes.slice(0, 3).sort())
  t.match(report.findings.find(({ check }) => check === 'cluster'), { level: 'ok', found: '6 nodes, cluster_state ok' })
  t.match(report.findings.find(({ check }) => check === 'pub/sub'), { level: 'ok', found: 'probes received: 6' })
  const published = await runToEnd(t, ['publish', 'c', '{"type":"x"}', '--cluster', nodes.join(','), '--sharded'])
  t.match(published, { status: 0, stdout: /"duplicate":false/ })

  await cluster.nodes[3]?.server.freeze()
  t.match((await doctor()).findings.find(({ check }) => check === 'cluster'), {
    level: 'failure', found: new RegExp(`Out of reach: ${nodes[3]} `)
  })
})

t.test('a primary behind Sentinels is looked at, and the Sentinels are', async (t) => {
  const group = await RedisSentinel.start()
  t.teardown(() => group.stop())
  const { name, sentinels } = group.options
  const addresses = sentinels.map(({ host, port }) => `${host}:${port}`)
  const lost = `127.0.0.1:${await freePort()}`
  const doctor = async (...nodes: string[]): Promise<Report> => {
    const { stdout } = await runToEnd(t, ['doctor', '--json', '--sentinel', nodes.join(','), '--name', name])
    return JSON.parse(stdout) as Report
  }
  const { port } = await group.primary()
  const { findings } = await doctor(...addresses)
  t.match(findings.find(({ check }) => check === 'sentinel'), { level: 'ok', found: '3 Sentinels agree' })
  t.match(findings.find(({ check }) => check === 'version'), { server: `127.0.0.1:${port}` })
  t.match(findings.find(({ check }) => check === 'replication'), { level: 'warning', found: /^2 replicas/ })
  for (const [known, level] of [[addresses, 'warning'], [addresses.slice(0, 1), 'failure']] as const) {
    const report = await doctor(...known, lost)
    t.match(report.findings.find(({ check }) => check === 'sentinel'), { level, found: `${lost} ECONNREFUSED` })
  }
})
