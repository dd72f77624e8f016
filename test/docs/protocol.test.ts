import t, { type Test } from 'tap'
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { startApp } from '../support/app.ts'
import { EventStream } from '../support/event-stream.ts'
import { client, startRedis } from '../support/redis.ts'
import { Document } from '../support/snippets.ts'

const guide = await Document.read('docs/protocol.md')
const [block = '', firstBatch = '', batchAgain = '', batchAfterGivenUp = '', lateBatch = ''] = guide.blocks('redis')

/** The words of a command, in which placeholders are replaced. Quotes hold words together. */
function wordsOf (line: string, values: Record<string, string>): string[] {
  const words = line.match(/"[^"]*"|(?:<[^>]+>|\S)+/g) as string[]
  return words.map((word) => word.replace(/^"|"$/g, '').replace(/<([^>]+)>/g, (_, name: string) => {
    if (!(name in values)) throw new Error(`There is no value for <${name}>`)
    return values[name] as string
  }))
}

interface Log { epoch: string, offset: number, tag: string, replicationId: string | null }

/** A publisher in another language, written from the page alone. */
class ForeignPublisher {
  readonly #redis: Redis
  #tag = 1_000

  constructor (redis: Redis) {
    this.#redis = redis
  }

  async publish (text: string, { key }: { key?: string } = {}): Promise<string> {
    for (;;) {
      const id = await this.#try(`{"type":"message","message":{"text":"${text}"},"chatId":"42"}`, key)
      if (id !== undefined) return id
    }
  }

  async #try (json: string, key: string | undefined): Promise<string | undefined> {
    const lines = block.trim().split('\n')
    const [watch = '', get = '', info = '', multi = ''] = lines
    await this.#run(watch)
    if (key !== undefined) {
      await this.#run(`WATCH rt:{chat:42}:i:${key}`)
      const known = await this.#run(`GET rt:{chat:42}:i:${key}`)
      if (known !== null) return known as string
    }
    const [epoch, last, replicationId] = await this.#run(get) as (string | null)[]
    const now = /master_replid:(\w+)/.exec(await this.#run(info) as string)?.[1] as string
    const log = epoch === null ? undefined : this.#logOf(epoch as string, last as string, replicationId as string)
    await this.#run(multi)
    const before = log !== undefined && log.replicationId !== now ? await this.#mark(log) : log
    const { epoch: logEpoch, offset, tag } = before ?? { epoch: 'foreign1', offset: 0, tag: '0' }
    const values = {
      epoch: logEpoch,
      offset: String(offset + 1),
      tag: String(++this.#tag),
      'previous tag': tag,
      'replication id': now,
      payload: `php-7 ${Date.now()} message ${json}`
    }
    const id = `${logEpoch}-${values.offset}-${values.tag}`
    if (log === undefined) await this.#run('DEL rt:{chat:42}:s')
    const last_ = lines.length - 1
    for (const line of lines.slice(4, last_)) await this.#redis.call(...wordsOf(line, values) as [string, ...string[]])
    if (key !== undefined) await this.#run(`SET rt:{chat:42}:i:${key} ${id} PX 120000`)
    return await this.#run(lines[last_] as string) === null ? undefined : id
  }

  #logOf (epoch: string, last: string, replicationId: string): Log {
    const [offset, tag] = last.split('-') as [string, string]
    return { epoch, offset: Number(offset), tag, replicationId }
  }

  /** Step 2 of the page. */
  async #mark ({ epoch, offset, tag, replicationId }: Log): Promise<Log> {
    const marker = String(++this.#tag)
    const at = offset + 1
    const payload = `php-7 ${Date.now()} fence {}`
    await this.#redis.call(
      'XADD',
      'rt:{chat:42}:s',
      'MAXLEN',
      '~',
      '1000',
      `${at}-${marker}`,
      'k',
      'f',
      'p',
      tag,
      'd',
      payload
    )
    await this.#redis.call('HSET', 'rt:{chat:42}:m', 'f', String(at), 'b', String(offset))
    await this.#redis.call('PUBLISH', 'rt:{chat:42}', `1 ${epoch} ${at} ${marker} ${tag} f ${payload}`)
    return { epoch, offset: at, tag: marker, replicationId }
  }

  async #run (line: string): Promise<unknown> {
    return await this.#redis.call(...wordsOf(line, {}) as [string, ...string[]])
  }
}

interface Readers { app: Awaited<ReturnType<typeof startApp>>['app'], url: string, stream: EventStream }

async function readers (t: Test, redisUrl: string): Promise<Readers> {
  const { app, url } = await startApp(t, { redisUrl })
  const stream = await EventStream.open(t, `${url}/api/chats/42/events`)
  t.match(await stream.next(), { event: 'ready' })
  return { app, url, stream }
}

t.test('the commands of the page publish beside the plugin, to a live and to a reconnecting client', async (t) => {
  const redis = await startRedis(t)
  const publisher = new ForeignPublisher(client(t, redis.url))
  const first = await publisher.publish('one')
  const { app, url, stream } = await readers(t, redis.url)
  const { id: second } = await app.chatEvents.emitChatMessage('42', { text: 'two' })
  const third = await publisher.publish('three')
  const { id: fourth } = await app.chatEvents.emitChatMessage('42', { text: 'four' })
  t.match(await stream.take(3), [
    { id: second, event: 'message', data: { message: { text: 'two' } } },
    { id: third, event: 'message', data: { type: 'message', chatId: '42', message: { text: 'three' } } },
    { id: fourth, event: 'message', data: { message: { text: 'four' } } }
  ])
  const returned = await EventStream.open(t, `${url}/api/chats/42/events`, { headers: { 'last-event-id': first } })
  t.match(await returned.take(4), [
    { event: 'ready', data: { resumed: true } },
    { id: second },
    { id: third },
    { id: fourth }
  ])
})

t.test('concurrent publishes by commands and by the plugin are neither lost nor doubled', async (t) => {
  const redis = await startRedis(t)
  const { app, stream } = await readers(t, redis.url)
  const publishers = [1, 2].map(() => new ForeignPublisher(client(t, redis.url)))
  const ids = await Promise.all(Array.from({ length: 20 }, async (_, n) => {
    const { id } = await app.chatEvents.emitChatMessage('42', { n })
    return id
  }).concat(publishers.map(async (publisher, at) => {
    for (let n = 0; n < 10; n++) await publisher.publish(`${at}-${n}`)
    return undefined
  })))
  const events = await stream.take(40)
  t.equal(new Set(events.map(({ id }) => id)).size, 40)
  t.equal(events.filter(({ id }) => ids.includes(id)).length, 20)
})

t.test('after a publish by commands, the plugin keeps the log as long as after its own', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const publisher = new ForeignPublisher(client(t, redis.url))
  const { app } = await readers(t, redis.url)
  await app.chatEvents.emitChatMessage('42', { text: 'one' })
  await publisher.publish('two')
  t.ok(await admin.pttl('rt:{chat:42}:s') <= 600_000)
  await app.chatEvents.emitChatMessage('42', { text: 'three' })
  t.ok(await admin.pttl('rt:{chat:42}:s') > 600_000)
})

t.test('both publishers honour an idempotency key', async (t) => {
  const redis = await startRedis(t)
  const publisher = new ForeignPublisher(client(t, redis.url))
  const { app, stream } = await readers(t, redis.url)
  const id = await publisher.publish('once', { key: 'k1' })
  t.equal(await publisher.publish('again', { key: 'k1' }), id)
  t.same(await app.chatEvents.emitChatMessage('42', { text: 'again' }, { idempotencyKey: 'k1' }), {
    id,
    duplicate: true
  })
  const { id: other } = await app.chatEvents.emitChatMessage('42', { text: 'other' }, { idempotencyKey: 'k2' })
  t.equal(await publisher.publish('other', { key: 'k2' }), other)
  t.match(await stream.take(2), [{ id }, { id: other }])
})

t.test('after Redis was restarted, the marker of the page resets the clients', async (t) => {
  const redis = await startRedis(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const { app } = await startApp(t, { redisUrl: redis.url })
  await app.chatEvents.emitChatMessage('42', { text: 'before' })
  const { id } = await app.chatEvents.emitChatMessage('42', { text: 'last' })
  await app.close()
  await redis.kill()
  await redis.restart()
  const after = await new ForeignPublisher(client(t, redis.url)).publish('after')
  const { url } = await startApp(t, { redisUrl: redis.url })
  const stream = await EventStream.open(t, `${url}/api/chats/42/events`, { headers: { 'last-event-id': id as string } })
  t.match(await stream.take(3), [
    { event: 'ready' },
    { event: 'reset', data: { reason: 'failover', certain: false } },
    { id: after, event: 'message' }
  ])
})

t.test('an ephemeral event reaches the clients that are connected', async (t) => {
  const redis = await startRedis(t)
  const { stream } = await readers(t, redis.url)
  const [, command = ''] = /`(PUBLISH rt:\{chat:42\} "1 - - - - e <payload>")`/.exec(guide.text) ?? []
  const payload = `php-7 ${Date.now()} wave {"type":"wave","chatId":"42"}`
  await client(t, redis.url).call(...wordsOf(command, { payload }) as [string, ...string[]])
  t.match(await stream.next(), { event: 'wave', id: undefined, data: { chatId: '42' } })
})

/** The files that the page names, in its order. */
function filesOf (page: string): string[] {
  const [sentence = ''] = /Concatenate the constants and the files [^]*?: a file/.exec(page) ?? []
  return [...sentence.matchAll(/`([\w/-]+\.lua)`/g)].map(([, name = '']) => name)
}

/** The script of the package, joined as the page says. */
function appendScript (t: Test): string {
  const constants = {
    PUBLISH: 'PUBLISH',
    SIZE: '1000',
    TRIM_EVERY: '15',
    LOG_TTL: '600000',
    LOG_EXPIRY: '750000',
    META_TTL: '605550000',
    KEY_TTL: '120000',
    BATCH_TTL: '125000',
    GIVEN_UP: 'given up'
  }
  for (const name of Object.keys(constants)) t.ok(guide.text.includes(`\`${name}\``), `${name} is on the page`)
  const folder = new URL(`../../${/`(dist\/[\w/]*lua)`/.exec(guide.text)?.[1]}/`, import.meta.url)
  return [
    ...Object.entries(constants).map(([name, value]) => `local ${name} = '${value}'`),
    ...filesOf(guide.text).map((name) => readFileSync(new URL(name, folder), 'utf8'))
  ].join('\n')
}

t.test('the script of the package publishes as the page says, once', async (t) => {
  const redis = await startRedis(t)
  const { stream } = await readers(t, redis.url)
  const script = appendScript(t)
  const foreign = client(t, redis.url)
  const payload = `php-7 ${Date.now()} message {"type":"message","message":{"text":"Hello"},"chatId":"42"}`
  const keys = ['rt:{chat:42}:b:php-1', 'rt:{chat:42}:m', 'rt:{chat:42}:s', 'rt:{chat:42}:i:k1']
  const run = async (): Promise<unknown> =>
    await foreign.eval(script, keys.length, ...keys, 'foreign1', '0', '0', 'rt:{chat:42}', 'k', '77', payload)
  const [trouble, id] = await run() as [string, string]
  t.equal(trouble, '')
  t.match(id, /-1-77$/)
  t.same(await run(), ['', id], 'sent again, it is applied once')
  t.match(await stream.next(), { id, event: 'message', data: { message: { text: 'Hello' } } })
})

/** Runs a command. Resolves with its reply as redis-cli prints it. */
async function replyTo (redis: Redis, words: string[]): Promise<string> {
  try {
    const reply = await redis.call(...words as [string, ...string[]])
    return (reply as string[]).map((line, index) => `${index + 1}) "${line}"\n`).join('')
  } catch (error) {
    return `(error) ${(error as Error).message}\n`
  }
}

t.test('the batches of the example get the replies of the page, and each event is published once', async (t) => {
  const [appended, appendedLater, refused] = guide.blocks('text') as [string, string, string]
  const redis = client(t, (await startRedis(t)).url)
  const payload = (chatId: string): string => `php-7 ${Date.now()} message {"type":"message","chatId":"${chatId}"}`
  const values = { script: appendScript(t), 'payload for 42': payload('42'), 'payload for 43': payload('43') }
  const send = async (block: string): Promise<string> => await replyTo(redis, wordsOf(block, values))
  const entries = async (): Promise<number[]> =>
    [await redis.xlen('rt:{chat:42}:s'), await redis.xlen('rt:{chat:43}:s')]

  t.equal(await send(firstBatch), appended)
  const [, ids = ''] = /2\) "(.*)"/.exec(appended) ?? []
  t.equal(await redis.get('rt:{chat:42}:i:k7'), ids.split(' ')[0], 'the idempotency key holds the id of its event')
  t.equal(await send(batchAgain), appended, 'sent again, the batch has the same outcome')
  t.same(await entries(), [1, 1])
  t.equal(await send(batchAfterGivenUp), appendedLater)
  t.equal(await redis.get('rt:{chat:42}:b:php-2'), 'given up')
  t.equal(await send(lateBatch), refused)
  t.same(await entries(), [2, 1], 'the batch that was given up has appended nothing')
})

t.test('a batch that was applied before its publisher gave it up keeps its outcome', async (t) => {
  const redis = client(t, (await startRedis(t)).url)
  const values = { script: appendScript(t), 'payload for 42': 'php-7 1 message {"type":"message","chatId":"42"}' }
  const applied = await replyTo(redis, wordsOf(lateBatch, values))
  await replyTo(redis, wordsOf(batchAfterGivenUp, values))
  t.equal(await replyTo(redis, wordsOf(lateBatch, values)), applied)
  t.equal(await redis.xlen('rt:{chat:42}:s'), 2)
})

t.test('a batch that names one before it is refused until that one was applied', async (t) => {
  const redis = client(t, (await startRedis(t)).url)
  const values = { script: appendScript(t), 'payload for 42': 'php-7 1 message {"type":"message","chatId":"42"}' }
  // The same batch, with the one before it counted as under way instead of given up.
  const next = wordsOf(batchAfterGivenUp.replace(' 0 1\n', ' 1 0\n'), values)
  t.match(await replyTo(redis, next), /^\(error\) EARLY /)
  await replyTo(redis, wordsOf(lateBatch, values))
  t.match(await replyTo(redis, next), /-2-6117"/)
})
