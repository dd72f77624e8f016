import t from 'tap'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import vm from 'node:vm'
import { EventSource } from 'eventsource'
import { Redis } from 'ioredis'
import { RedisPubSub, type StateStore } from '../lib/index.ts'
import { errorStatus } from '../lib/errors.ts'
import { defaults, optionNames } from '../lib/options.ts'
import { AnswerReader } from './support/answer-reader.ts'
import { EventStream } from './support/event-stream.ts'
import { live } from './support/live.ts'
import { RedisServer } from './support/redis-server.ts'
import { Document, serveSnippet, writeSnippet } from './support/snippets.ts'
import { until } from './support/until.ts'

const readme = await Document.read('README.md')

t.test('the fifteen lines run, and so does the browser\'s part', async (t) => {
  const [server, browser] = readme.snippets('Fifteen lines')
  t.ok((server?.trim().split('\n').length ?? 99) <= 15)
  const url = await serveSnippet(t, server)
  const shown: unknown[] = []
  const { promise, sources } = await new Promise<{ promise: Promise<unknown>, sources: EventSource[] }>((resolve) => {
    const sources: EventSource[] = []
    const promise = new Promise((resolve) => {
      class PageEventSource extends EventSource {
        constructor (path: string) {
          super(url + path)
          sources.push(this)
        }
      }
      vm.runInNewContext(browser ?? '', { EventSource: PageEventSource, JSON, show: (what: unknown) => { shown.push(what); resolve(what) }, reload: () => t.fail('reloaded') })
    })
    resolve({ promise, sources })
  })
  t.teardown(() => sources[0]?.close())
  await once(sources[0] as unknown as EventTarget, 'ready')
  const response = await fetch(`${url}/api/chats/general/messages`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"text":"hi"}' })
  t.equal(response.status, 202)
  await promise
  t.strictSame(JSON.parse(JSON.stringify(shown)), [{ text: 'hi' }])
})

t.test('the answer of a bot is streamed', async (t) => {
  const [server] = readme.snippets('Answers of bots, streamed')
  const url = await serveSnippet(t, server)
  const stream = await EventStream.open(t, `${url}/api/chats/general/events`)
  t.match(await stream.next(), { event: 'ready' })
  const response = await fetch(`${url}/api/chats/general/ask`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"question":"why?"}' })
  t.equal(response.status, 202)
  t.match(await new AnswerReader().end(stream), { status: 'finished', text: 'You asked: why?' })
})

t.test('the streams of one\'s own run', async (t) => {
  const [server] = readme.snippets('Streams of your own')
  const url = await serveSnippet(t, server)
  t.equal((await fetch(`${url}/my/chat`)).status, 401)
  const chat = await EventStream.open(t, `${url}/my/chat`, { headers: { authorization: 'Bearer let-me-in' } })
  t.match(await chat.next(), { event: 'ready' })
  const answer = await EventStream.open(t, `${url}/answer`)
  t.same((await answer.end()).map(({ event, data }) => [event, data]), [['token', 'Once'], ['token', 'upon'], ['token', 'a'], ['token', 'time']])
})

t.test('events of one\'s own compile and run', { timeout: 120_000 }, async (t) => {
  const [code] = readme.snippets('Events of your own')
  const folder = await writeSnippet(t, code, 'snippet.ts')
  await writeFile(`${folder}/tsconfig.json`, '{ "extends": "../../tsconfig.build.json", "compilerOptions": { "rootDir": ".", "outDir": ".", "declaration": false }, "include": ["."], "exclude": [] }')
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  await promisify(execFile)(process.execPath, [tsc, '-p', folder])
  const { stdout } = await promisify(execFile)(process.execPath, [`${folder}/snippet.js`], { env: { ...process.env, REDIS_URL: undefined } })
  t.equal(stdout, 'Ann: 👍\nAnn: Hello\n')
})

t.test('the functions outside Fastify run, and the process ends', async (t) => {
  const [code] = readme.snippets('Outside Fastify')
  const folder = await writeSnippet(t, code, 'snippet.js')
  const { stdout } = await promisify(execFile)(process.execPath, [`${folder}/snippet.js`], { env: { ...process.env, REDIS_URL: undefined, LOG_LEVEL: 'silent' } })
  t.match(stdout, /^message$/m)
  t.match(stdout, /^chat:general \{/m)
})

t.test('the table of options tells every option with its default', async (t) => {
  const rows = [...readme.text.matchAll(/^\| `(\w+)` \| (?:`(.+?)`)?/gm)].filter(([, name]) => optionNames.has(name as string))
  t.same(rows.map(([, name]) => name).sort(), [...optionNames].sort())
  for (const [, name = '', value = ''] of rows) {
    if (name in defaults) t.same(vm.runInNewContext(`(${value})`), defaults[name as keyof typeof defaults], name)
  }
})

t.test('the table of error codes tells every code with its status', async (t) => {
  const rows = [...readme.text.matchAll(/^\| `(RT_\w+)` \| (\d+) \| \S/gm)].map(([, code, status]) => [code, Number(status)])
  t.same(Object.fromEntries(rows), errorStatus)
})

t.test('the rules for an ACL user suffice', async (t) => {
  const [rules = '', forPatterns = ''] = readme.text.match(/\*\*Redis ACL\*\*: `(.+?)`[^`]+`pubsub[^`]+`[^`]+`(.+?)`/)?.slice(1) ?? []
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url)
  t.teardown(() => admin.disconnect())
  await admin.call('ACL', 'SETUSER', 'app', 'reset', 'on', '>secret', ...rules.split(' '))
  const pubsub = new RedisPubSub({ url: redis.url.replace('//', '//app:secret@') })
  t.teardown(() => pubsub.close())
  const got: unknown[] = []
  const undo = [pubsub.subscribeExact('c', ({ data }) => { got.push(data) })]
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
  t.match(await state.conclude('c', { field: 'open', event: 1, key: 'key' }), { duplicate: false })
  // A failover, by what is remembered of the one before.
  await admin.hset('rt:{c}:m', 'sr', 'another')
  await state.read('c')
  got.pop()
  t.same(await admin.call('ACL', 'LOG'), [], 'nothing was refused')
  undo.push(pubsub.subscribe('c*', ({ data }) => { got.push(data) }))
  await live(pubsub)
  t.equal(await pubsub.isHealthy(), false, 'a pattern is refused')
  await pubsub.publish('c', 2)
  await live(pubsub)
  t.same(got, [1, 2], 'and channels work on')
  await admin.call('ACL', 'SETUSER', 'app', ...forPatterns.split(' '))
  await until(() => pubsub.isHealthy(), Boolean)
  await pubsub.publish('c', 3)
  await live(pubsub)
  t.same(got, [1, 2, 3, 3])
  for (const stop of undo) stop()
})
