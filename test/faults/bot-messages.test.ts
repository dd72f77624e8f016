import t, { type Test } from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { formatCursor } from '../../lib/pubsub/cursor.ts'
import { RedisPubSub, type BotMessagePiece, type EventLog } from '../../lib/index.ts'
import { BotMessageReader } from '../support/bot-message-reader.ts'
import { EventStream } from '../support/event-stream.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { RedisServer } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { wholeLog } from '../support/whole-log.ts'
import { Random } from './random.ts'

const CHATS = ['a', 'b', 'c']
const CLIENTS = 18
const ANSWERS = 15
const TOKENS = 2_000
const LEASE = 2_000

/** Longer than the lease: instances with readers of the chat check every two seconds. */
const NOTICED_WITHIN = 4_000

type Fault = 'kill' | 'freeze' | 'cut subscribers' | 'cut publishers' | 'hop' | 'reload'

t.setTimeout(200_000)

/** The bot messages take a while, and far longer on a busy machine. */
const LONG_MS = 150_000

/** A page that follows a chat from instance to instance, and now and then is reloaded. */
class Page {
  readonly chatId: string
  reader = new BotMessageReader()
  pages = 1
  readonly faults: string[] = []
  #stream: EventStream | undefined
  #closed = false

  constructor (t: Test, chatId: string, pick: () => string) {
    this.chatId = chatId
    this.#run(t, pick)
  }

  hop (): void {
    this.#stream?.close()
  }

  /** Discards the page's state; finalized bot messages are loaded again. */
  reload (): void {
    this.faults.push(...this.reader.faults)
    this.reader = new BotMessageReader()
    this.pages++
    this.hop()
  }

  close (): void {
    this.#closed = true
    this.hop()
  }

  async #run (t: Test, pick: () => string): Promise<void> {
    while (!this.#closed) {
      const { reader } = this
      const { lastId } = reader
      try {
        const url = `${pick()}/api/chats/${this.chatId}/events${lastId === undefined ? '?rewind=1000' : ''}`
        const headers = lastId !== undefined && { headers: { 'last-event-id': lastId } }
        const signal = AbortSignal.timeout(1_000)
        const stream = this.#stream = await EventStream.open(t, url, { signal, ...headers })
        // An instance that freezes during the stream holds the page no longer than a browser's user would wait.
        for (;;) {
          const event = await Promise.race([stream.next(), delay(3_000, undefined, { ref: false })])
          if (event === undefined || reader !== this.reader) break
          if (event.event === 'reset') this.faults.push(`reset: ${JSON.stringify(event.data)}`)
          reader.take(event)
        }
        stream.close()
      } catch {
        await delay(50)
      }
    }
  }
}

t.test('despite all faults, each bot message is finalized once, and all clients show the same text', async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url, { maxRetriesPerRequest: null })
  admin.on('error', () => {})
  t.teardown(() => { admin.disconnect() })
  const env = { REDIS_URL: redis.url, REALTIME: JSON.stringify({ botMessageLeaseMs: LEASE, heartbeatMs: 500 }) }
  const instances = await InstanceProcess.startAll(t, 3, env)
  const pick = (): string => random.pick(instances).url
  const pages = Array.from({ length: CLIENTS }, (_, n) => new Page(t, CHATS[n % CHATS.length] as string, pick))
  t.teardown(() => { for (const page of pages) page.close() })

  /** The instance that produces each bot message, and when it was killed. */
  const producers = new Map<string, InstanceProcess>()
  const killed = new Map<InstanceProcess, number>()
  const begin = async (n: number): Promise<void> => {
    const [id, instance] = [`answer ${n}`, random.pick(instances)]
    producers.set(id, instance)
    const asked = fetch(`${instance.url}/api/chats/${CHATS[n % CHATS.length]}/answers`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ id, count: TOKENS, everyMs: 1 + random.next() * 3 }),
      signal: AbortSignal.timeout(500)
    })
    // An instance that was frozen, killed or cut from Redis starts nothing, or it is unknown whether it did.
    const isOpen = await asked.then(({ ok }) => ok, () => false)
    if (!isOpen) producers.delete(id)
  }
  const suffer = async (fault: Fault): Promise<void> => {
    const index = Math.floor(random.next() * instances.length)
    const instance = instances[index] as InstanceProcess
    if (fault === 'kill') {
      killed.set(instance, Date.now())
      await instance.kill()
      instances[index] = await InstanceProcess.start(t, env)
    } else if (fault === 'freeze') {
      instance.freeze()
      await delay(LEASE + 3_000)
      instance.thaw()
    } else if (fault === 'cut subscribers') {
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    } else if (fault === 'cut publishers') {
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal')
    } else {
      for (const page of pages) if (random.next() < 0.5) page[fault]()
    }
  }

  const faults = random.shuffled<Fault>([
    ...['kill', 'kill', 'freeze', 'cut subscribers', 'cut subscribers', 'cut publishers', 'cut publishers'] as const,
    ...['hop', 'hop', 'hop', 'reload', 'reload', 'reload'] as const
  ])
  for (let n = 0; n < ANSWERS; n++) {
    await begin(n)
    const fault = faults.pop()
    if (fault !== undefined) await suffer(fault)
    await delay(300 + random.next() * 500)
  }

  const reader = new RedisPubSub({ url: redis.url })
  t.teardown(() => reader.close())
  const log = reader.eventLog as EventLog
  const ends = async (): Promise<{ message: BotMessagePiece, at: number }[]> => {
    const logs = await Promise.all(CHATS.map((chatId) => wholeLog(log, `chat:${chatId}`, 1_000)))
    return logs.flatMap(({ entries }) => entries.map(({ json, timestamp }) => {
      return { message: JSON.parse(json.toString()) as BotMessagePiece, at: timestamp }
    }))
  }
  await until(ends, (ends) => {
    return [...producers.keys()].every((id) => ends.some(({ message }) => message.id === id))
  }, LONG_MS)
  const all = await ends()
  t.equal(new Set(all.map(({ message: { id } }) => id)).size, all.length, 'each is finalized once')
  const counts: Record<string, number> = {}
  for (const { message: { id, status, text = '' }, at } of all) {
    counts[status] = (counts[status] ?? 0) + 1
    const tokens = text.split(' ').slice(0, -1).map(Number)
    t.ok(tokens.every((number, n) => number === n + 1), `${id}: no token is missing`)
    if (status === 'finished') t.equal(tokens.length, TOKENS, `${id}: complete`)
    else t.equal(status, 'interrupted')
    const died = killed.get(producers.get(id) as InstanceProcess)
    if (status === 'interrupted' && died !== undefined) {
      t.ok(at - died < LEASE + NOTICED_WITHIN, `${id}: finalized after ${at - died} ms`)
    }
  }
  for (const page of pages) {
    const { head: top } = await log.read(`chat:${page.chatId}`, undefined, 1)
    await until(async () => page.reader.lastId, (lastId) => lastId === formatCursor(top), LONG_MS)
    const { reader } = page
    t.same([...page.faults, ...reader.faults], [])
    const own = all.filter(({ message }) => reader.ends.has(message.id))
    for (const { message } of own) {
      t.same(reader.ends.get(message.id)?.map(({ status }) => status), [message.status])
      t.equal(reader.texts.get(message.id), message.text)
    }
    t.equal(own.length, reader.ends.size)
    const inChat = all.filter(({ message }) => (message as BotMessagePiece & { chatId: string }).chatId === page.chatId)
    t.equal(own.length, inChat.length, 'the page has all of its chat')
    t.equal([...reader.texts.keys()].length, own.length, 'no bot message streams for ever')
  }
  const pieces = pages.reduce((sum, { reader }) => sum + reader.pieces.length, 0)
  t.comment(`${JSON.stringify(counts)}, ${pieces} pieces on the last pages`)
})
