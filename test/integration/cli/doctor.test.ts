import t from 'tap'
import type { Test } from 'tap'
import { createServer } from 'node:net'
import { once } from 'node:events'
import type { Finding } from '../../../lib/cli/doctor/findings.ts'
import type { Report } from '../../../lib/cli/doctor/report.ts'
import { startApp } from '../../support/app.ts'
import { runToEnd } from '../../support/command.ts'
import { freePort } from '../../support/free-port.ts'
import { client, startRedis } from '../../support/redis.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'

t.beforeEach(nothingUnhandled)

interface Examined { status: number, output: string, findings: Map<string, Finding> }

async function examine (t: Test, url: string, ...args: string[]): Promise<Examined> {
  const { status, stdout, stderr } = await runToEnd(t, ['doctor', '--json', ...args], { env: { REDIS_URL: url } })
  const { findings, healthy } = JSON.parse(stdout) as Report
  t.equal(status, healthy ? 0 : 1)
  t.equal(healthy, !findings.some(({ level }) => level === 'failure'))
  t.notMatch(stdout + stderr, 'hunter2')
  return { status, output: stdout, findings: new Map(findings.map((finding) => [finding.check, finding])) }
}

const namesOf = ({ findings }: Examined, level: string): string[] =>
  [...findings.values()].filter((finding) => finding.level === level).map(({ check }) => check)

t.test('a Redis as the docs want it has no finding, and nothing stays in it', async (t) => {
  const redis = await startRedis(t, ['--appendonly', 'yes', '--requirepass', 'hunter2'])
  const url = redis.url.replace('//', '//:hunter2@')
  const examined = await examine(t, `${url}/3`)
  t.equal(examined.status, 0)
  t.same([...examined.findings.values()].filter(({ level }) => level !== 'ok'), [])
  t.match(examined.findings.get('sharing')?.found, 'keyPrefix "rt:", database 3')
  t.match(examined.output, 'redis://:***@')
  const admin = client(t, url, { db: 3 })
  t.equal(await admin.dbsize(), 0)
  const { stdout } = await runToEnd(t, ['doctor'], { env: { REDIS_URL: url } })
  t.match(stdout, /^redis:\/\/:\*\*\*@.*\nok {3}connection: connected\n/)
  t.match(stdout, /\nfailures: 0, warnings: 0, not looked at: 0\n$/)
})

t.test('bad settings are found, each with the setting that mends it', async (t) => {
  const redis = await startRedis(t, [
    '--maxmemory', '10mb', '--maxmemory-policy', 'allkeys-lru', '--client-output-buffer-limit', 'pubsub 100kb 50kb 10'
  ])
  await client(t, redis.url).set('rt:queue', 'of another program')
  const examined = await examine(t, redis.url)
  t.same(namesOf(examined, 'failure'), ['eviction', 'output buffer'])
  t.same(namesOf(examined, 'warning'), ['persistence', 'other keys'])
  for (const [check, fix] of Object.entries({
    eviction: 'maxmemory-policy noeviction',
    'output buffer': 'client-output-buffer-limit',
    persistence: 'appendonly yes',
    'other keys': 'keyPrefix'
  })) t.match(examined.findings.get(check)?.fix, fix)
  t.same(namesOf(await examine(t, redis.url, '--key-prefix', 'mine:'), 'warning'), ['persistence'])
})

t.test('a Redis that is full, or a replica, cannot publish', async (t) => {
  const full = await startRedis(t, ['--maxmemory', '1'])
  t.match((await examine(t, full.url)).findings.get('publishing'), { level: 'failure', found: /^OOM: / })
  const replica = await startRedis(t, ['--replicaof', `127.0.0.1 ${full.port}`])
  const examined = await examine(t, replica.url)
  t.match(examined.findings.get('role'), { level: 'failure', found: 'a replica' })
  t.match(examined.findings.get('publishing'), { level: 'failure', found: /^READONLY: / })
})

t.test('missing rights are listed as the rules that grant them', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const rules = ['on', '>hunter2', '~rt:*', '&rt:*', '+@all', '-xadd', '-zrem', '-subscribe', '-config', '-scan']
  await admin.call('ACL', 'SETUSER', 'app', ...rules)
  const url = redis.url.replace('//', '//app:hunter2@')
  const examined = await examine(t, url)
  t.match(examined.findings.get('rights'), {
    level: 'failure', found: 'missing: +xadd +zrem', fix: 'ACL SETUSER <user> +xadd +zrem'
  })
  t.match(examined.findings.get('pub/sub'), { level: 'failure', found: /NOPERM.*subscribe/ })
  t.match(examined.findings.get('publishing'), { level: 'failure', found: /^NOPERM: / })
  t.same(namesOf(examined, 'unknown'), ['persistence', 'output buffer', 'other keys'])
  await admin.call('ACL', 'SETUSER', 'app', 'resetkeys', '~other:*', 'resetchannels')
  t.match((await examine(t, `${url}/2`)).findings.get('rights')?.found, /~rt:\*.* &rt:\*/)
  t.match((await examine(t, url, '--key-prefix', 'other:')).findings.get('rights')?.found, '&other:*')
})

t.test('the user of the reference is enough to find no failure', async (t) => {
  const redis = await startRedis(t)
  const text = await import('node:fs/promises').then((fs) => fs.readFile('docs/reference.md', 'utf8'))
  const [, rules = ''] = /```acl\n([^]*?)```/.exec(text) ?? []
  await client(t, redis.url).call('ACL', 'SETUSER', 'app', 'reset', 'on', '>hunter2', ...rules.trim().split(/\s+/))
  const examined = await examine(t, redis.url.replace('//', '//app:hunter2@'))
  t.equal(examined.status, 0)
  t.same(namesOf(examined, 'unknown'), ['persistence', 'output buffer', 'other keys', 'sharing'])
})

t.test('a connection that fails is the only finding, with its reason', async (t) => {
  const redis = await startRedis(t, ['--requirepass', 'hunter2'])
  const cases: [string, RegExp, RegExp][] = [
    [`redis://:hunter2@127.0.0.1:${await freePort()}`, /^ECONNREFUSED$/, /^Start Redis/],
    [redis.url.replace('//', '//:hunter3@'), /^WRONGPASS/, /password/],
    [redis.url, /^NOAUTH/, /password/]
  ]
  for (const [url, found, fix] of cases) {
    const examined = await examine(t, url)
    t.equal(examined.status, 1)
    t.match([...examined.findings.values()], [{ check: 'connection', level: 'failure', found, fix }])
    t.equal(examined.findings.size, 1)
    t.notMatch(examined.output, /hunter/)
  }
})

t.test('a server that answers nothing is given up', async (t) => {
  const redis = await startRedis(t)
  await redis.freeze()
  const examined = await examine(t, redis.url)
  t.match([...examined.findings.values()], [{ check: 'connection', level: 'failure', found: /^no reply|timed out/ }])
  await redis.thaw()
})

t.test('a server that stops answering later is given up', async (t) => {
  const redis = await startRedis(t)
  // A proxy that lets the connection through, and nothing after the first PING.
  const { connect } = await import('node:net')
  const proxy = createServer((socket) => {
    const upstream = connect(redis.port, '127.0.0.1').on('data', (data) => socket.write(data)).on('error', () => {})
    let isStuck = false
    socket.on('data', (data) => {
      isStuck ||= /ping/i.test(data.toString())
      if (!isStuck) upstream.write(data)
    }).on('error', () => {}).on('close', () => upstream.destroy())
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => proxy.close())
  const { port } = proxy.address() as { port: number }
  const examined = await examine(t, `redis://127.0.0.1:${port}`)
  t.match(examined.findings.get('latency'), { level: 'failure', found: /^(no reply|Command timed out)/ })
  t.notOk(examined.findings.has('eviction'))
})

t.test('the instances and channels that share the prefix are counted', async (t) => {
  const redis = await startRedis(t)
  const { app } = await startApp(t, { redisUrl: redis.url, authorize: () => true })
  await new Promise((resolve) => {
    app.chatEvents.onChatEvent('c', resolve)
    const again = setInterval(() => { app.chatEvents.emitChatMessage('c', {}) }, 50)
    t.teardown(() => clearInterval(again))
  })
  const { findings } = await examine(t, redis.url)
  t.match(findings.get('sharing')?.found, /Open chats: 1\. Instances: 1 or more$/)
})
