import t from 'tap'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import vm from 'node:vm'
import { Redis } from 'ioredis'
import { RedisPubSub, type StateStore } from '../../lib/index.ts'
import { errorStatus } from '../../lib/errors.ts'
import type { Option } from '../../lib/core/options.ts'
import { pluginOptions } from '../../lib/options.ts'
import { EventStream } from '../support/event-stream.ts'
import { live } from '../support/live.ts'
import { RedisServer } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { Document, serveSnippet, writeSnippet } from '../support/snippets.ts'
import { plainNode } from '../support/plain-node.ts'

const reference = await Document.read('docs/reference.md')

t.test('streams of your own run', async (t) => {
  const [server] = reference.snippets('Streams of your own')
  const url = await serveSnippet(t, server)
  t.equal((await fetch(`${url}/my/chat`)).status, 401)
  const chat = await EventStream.open(t, `${url}/my/chat`, { headers: { authorization: 'Bearer let-me-in' } })
  t.match(await chat.next(), { event: 'ready' })
  const answer = await EventStream.open(t, `${url}/answer`)
  t.same(
    (await answer.end()).map(({ event, data }) => [event, data]),
    [
      ['token', 'Once'],
      ['token', 'upon'],
      ['token', 'a'],
      ['token', 'time']
    ]
  )
})

t.test('the functions outside Fastify run, and the process ends', async (t) => {
  const [code] = reference.snippets('Outside Fastify')
  const folder = await writeSnippet(t, code, 'snippet.js')
  const { stdout } = await promisify(execFile)(...plainNode(`${folder}/snippet.js`), {
    env: { ...process.env, REDIS_URL: undefined, LOG_LEVEL: 'silent' }
  })
  t.match(stdout, /^message$/m)
  t.match(stdout, /^chat:general \{/m)
})

/** The options by the names of their rows. */
function rowsOf (table: Readonly<Record<string, Option<unknown, unknown>>>, path = ''): [string, unknown][] {
  return Object.entries(table).flatMap(([name, option]) =>
    [[path + name, option.default], ...rowsOf(option.fields ?? {}, `${name}.`)])
}

t.test('the table of options lists each option with its default', async (t) => {
  const [, table = ''] =
    reference.text
      .split('\n## ')
      .find((part) => part.startsWith('Options\n'))
      ?.split('<!-- Written') ?? []
  const rows = [...table.matchAll(/^\| `([\w.]+)` \| (?:`(.+?)`)?/gm)]
  const options = rowsOf(pluginOptions)
  t.same(rows.map(([, name]) => name), options.map(([name]) => name))
  for (const [row, [name, value]] of rows.map((row, index) => [row[2], options[index] as [string, unknown]] as const)) {
    if (value !== undefined) t.same(vm.runInNewContext(`(${row})`), value, name)
  }
})

t.test('the table of options is the one that the docstrings make', async () => {
  await promisify(execFile)(...plainNode('docs/scripts/option-table.js', '--check'))
})

t.test('the table of error codes lists each code with its status', async (t) => {
  const rows = [...reference.text.matchAll(/^\| `(RT_\w+)` \| (\d+) \| \S/gm)].map(([, code, status]) => [
    code,
    Number(status)
  ])
  t.same(Object.fromEntries(rows), errorStatus)
})

t.test('the rules for an ACL user suffice', async (t) => {
  const [rules = [], forPatterns = []] = reference.blocks('acl').map((block) => block.trim().split(/\s+/))
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url)
  t.teardown(() => admin.disconnect())
  await admin.call('ACL', 'SETUSER', 'app', 'reset', 'on', '>secret', ...rules)
  const pubsub = new RedisPubSub({ url: redis.url.replace('//', '//app:secret@') })
  t.teardown(() => pubsub.close())
  const got: unknown[] = []
  const unsubscribe = [pubsub.subscribeExact('c', ({ data }) => { got.push(data) })]
  await live(pubsub)
  await pubsub.publish('c', 1)
  await live(pubsub)
  t.same(got, [1])
  t.equal(await pubsub.isHealthy(), true)
  const state = pubsub.state as StateStore // History is on here.
  for (const operation of ['set', 'open'] as const) {
    await state.change('c', { operation, field: operation, value: '1', leaseMs: 1, owner: 'me', key: 'key' })
  }
  await until(() => state.read('c'), ({ fields }) => fields?.get('open')?.expired === true)
  t.match(await state.finalize('c', { field: 'open', event: 1, keepContent: false, key: 'key' }), { duplicate: false })
  // A failover, by what is remembered of the one before.
  await admin.hset('rt:{c}:m', 'sr', 'another')
  await state.read('c')
  got.pop()
  t.same(await admin.call('ACL', 'LOG'), [], 'nothing was refused')
  unsubscribe.push(pubsub.subscribe('c*', ({ data }) => { got.push(data) }))
  await live(pubsub)
  t.equal(await pubsub.isHealthy(), false, 'a pattern is refused')
  await pubsub.publish('c', 2)
  await live(pubsub)
  t.same(got, [1, 2], 'and channels work on')
  await admin.call('ACL', 'SETUSER', 'app', ...forPatterns)
  await until(() => pubsub.isHealthy(), Boolean)
  await pubsub.publish('c', 3)
  await live(pubsub)
  t.same(got, [1, 2, 3, 3])
  for (const stop of unsubscribe) stop()
})
