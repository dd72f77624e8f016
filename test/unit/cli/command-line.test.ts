import t from 'tap'
import { readFileSync } from 'node:fs'
import { Cluster, Redis } from 'ioredis'
import { chooseTarget, describeTarget, openClient, openSource } from '../../../lib/cli/target.ts'
import { runToEnd } from '../../support/command.ts'

const SECRET = 'hunter2'

t.test('a wrong command line ends with 2 and says what is wrong, without its values', async (t) => {
  const url = `redis://:${SECRET}@127.0.0.1:1`
  const cases: [string[], RegExp][] = [
    [['doctor'], /^Set REDIS_URL/],
    [['doctor', '--redis', `http://:${SECRET}@h`], /^RT_REDIS_URL_INVALID/],
    [['doctor', `redis://:${SECRET}@h`], /^The command is one of: doctor, tail CHAT, publish CHAT EVENT/],
    [['doctor', `--redsi=${url}`], /^The option --redsi is unknown/],
    [['doctor', `--json=${url}`], /^The option --json is unknown, or its value is missing or not expected/],
    [['doctor', '--redis'], /^The option --redis/],
    [['doctor', '--redis', url, '--cluster', 'h:1'], /^Give one of/],
    [['doctor', '--sentinel', 'h:1'], /^--sentinel needs --name/],
    [['doctor', '--cluster', `${SECRET}@h:1`], /^--cluster must be host:port,host:port/],
    [['doctor', '--cluster', 'h'], /^--cluster must be/],
    [['doctor', '--redis', url, '--sharded'], /^--sharded needs --cluster/],
    [['tail', '--redis', url], /^The command is one of/],
    [['tail', 'c', 'd', '--redis', url], /^The command is one of/],
    [['tail', 'c', '-n', 'x', '--redis', url], /^-n must be a number/],
    [['tail', '\ud800', '--redis', url], /RT_CHAT_ID_INVALID/],
    [['publish', 'c', '--redis', url], /^The command is one of/],
    [['publish', 'c', SECRET, '--redis', url], /EVENT must be JSON/],
    [['unknown', '--redis', url], /^The command is one of/]
  ]
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = await runToEnd(t, args)
    t.equal(status, 2, args.join(' '))
    t.equal(stdout, '')
    t.match(stderr, message)
    t.notMatch(stderr, SECRET)
  }
})

t.test('help and version are printed', async (t) => {
  for (const args of [['--help'], ['-h'], [], ['doctor', '--help']]) {
    t.match(await runToEnd(t, args), { status: 0, stdout: /^Usage: fastify-realtime <command>/, stderr: '' })
  }
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
  t.match(await runToEnd(t, ['--version']), { status: 0, stdout: `${version}\n` })
})

t.test('the file of the package runs the command of the process', async (t) => {
  const { argv, exitCode } = process
  process.argv = ['node', 'main.js', 'unknown']
  const written = t.capture(process.stderr, 'write', () => true)
  await import('../../../lib/cli/main.ts')
  const { exitCode: status } = process
  Object.assign(process, { argv, exitCode })
  t.equal(status, 2)
  t.match(written()[0]?.args[0], /^The command is one of/)
})

t.test('an address is shown without its password', async (t) => {
  t.equal(describeTarget(chooseTarget({}, { REDIS_URL: `redis://app:${SECRET}@h:1/2` })), 'redis://app:***@h:1/2')
  t.equal(describeTarget(chooseTarget({ redis: 'redis://h' }, { REDIS_URL: 'redis://other' })), 'redis://h')
  const env = { REDIS_USERNAME: 'app', REDIS_PASSWORD: SECRET, SENTINEL_PASSWORD: SECRET }
  t.equal(describeTarget(chooseTarget({ cluster: 'a:1,[::1]:2' }, env)), 'Cluster of a:1, ::1:2')
  t.equal(describeTarget(chooseTarget({ sentinel: 'a:1', name: 'main' }, env)), 'main of the Sentinels a:1')
})

t.test('a Cluster and a primary behind Sentinels get the login of the environment', async (t) => {
  const env = { REDIS_USERNAME: 'app', REDIS_PASSWORD: 'one', SENTINEL_PASSWORD: 'two' }
  const cluster = openClient(chooseTarget({ cluster: 'a:1', tls: true }, env)) as Cluster
  t.ok(cluster instanceof Cluster)
  t.match(cluster.options.redisOptions, { username: 'app', password: 'one', tls: {} })
  const redis = openClient(chooseTarget({ sentinel: 'a:1', name: 'main', tls: true }, env)) as Redis
  t.match(redis.options, {
    username: 'app', password: 'one', sentinelPassword: 'two', name: 'main', enableTLSForSentinelMode: true
  })
  t.match(openSource(chooseTarget({ redis: 'redis://h' }, {})), { source: { url: 'redis://h' } })
})

t.test('standard input that cannot be read is an error', async (t) => {
  const input = new Error('EISDIR: illegal operation on a directory, read')
  const { status, stderr } = await runToEnd(t, ['publish', 'c', '-', '--redis', 'redis://127.0.0.1:1'], { input })
  t.equal(status, 1)
  t.equal(stderr, `${input.message}\n`)
})
