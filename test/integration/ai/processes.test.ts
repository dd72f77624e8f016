import t, { type Test } from 'tap'
import type { UIChunk } from '../../../lib/ai/index.ts'
import type { EventLog, RedisPubSub } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { InstanceProcess } from '../../support/instance-process.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { wholeLog } from '../../support/whole-log.ts'
import { LEASE, type Side } from '../bot-messages/sides.ts'
import { active, answerWith, streaming, text, UIStream } from './ui-stream.ts'

t.beforeEach(nothingUnhandled)

const options = { botMessageLeaseMs: LEASE, botMessageWindowMs: 0 }

/** An instance that produces a UI message in a process of its own, and two others that only read it. */
async function produce (t: Test, chunks: UIChunk[]): Promise<{ producer: InstanceProcess, readers: [Side, Side] }> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const producer = await InstanceProcess.start(t, { REDIS_URL: redis.url, REALTIME: JSON.stringify(options) })
  const readers = await Promise.all(['two', 'three'].map((instanceId) =>
    startApp(t, { ...options, redisUrl: redis.url, instanceId }, { setup: answerWith })))
  await fetch(`${producer.url}/api/chats/c/ui-messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: 'm', chunks })
  })
  return { producer, readers: readers as [Side, Side] } // Two, as above.
}

/** The ends of bot messages in the log of the chat. */
async function endsIn ({ app }: Side): Promise<unknown[]> {
  const { eventLog } = app.pubsub as RedisPubSub & { eventLog: EventLog } // Redis has one.
  const { entries } = await wholeLog(eventLog, 'chat:c', 1_000)
  return entries.filter(({ event }) => event === 'bot_message').map(({ json }) => JSON.parse(json.toString()))
}

async function read (stream: UIStream, count: number): Promise<UIChunk[]> {
  const chunks: UIChunk[] = []
  while (chunks.length < count) chunks.push(await stream.chunk())
  return chunks
}

/** Resolves once the signal in the process of the producer has aborted. */
async function aborted (producer: InstanceProcess): Promise<void> {
  await until(async () => await (await fetch(`${producer.url}/aborted`)).json() as string[], ({ length }) => length > 0)
}

const error = { type: 'error', errorText: 'The bot message was interrupted.' }
const start = { type: 'start', messageId: 'm' }

for (const [name, chunks] of Object.entries({
  'a short message': [start, text('a')],
  // More than an instance keeps of it.
  'a long message': [start, ...Array.from({ length: 200 }, (_, n) => text(`${n} `.repeat(200)))]
})) {
  t.test(`${name}: if its process is killed, each reader gets an error and [DONE], and it ends once`, async (t) => {
    const { producer, readers: [two, three] } = await produce(t, chunks)
    const ask = (): Promise<UIStream> => UIStream.open(t, `${three.url}/api/ask?id=m`)
    const attached = await streaming(t, producer)
    const old = [await streaming(t, two), await streaming(t, three), await ask()]
    for (const stream of [attached, ...old]) t.same(await read(stream, chunks.length), chunks)
    await producer.kill()
    await t.rejects(attached.next(), 'a reader of the killed process is cut')
    const late = await ask()
    t.same(await read(late, chunks.length), chunks)
    for (const stream of [...old, late]) t.same(await stream.rest(), [error])
    t.same(await (await ask()).rest(), [...chunks, error], 'a reader that comes after the end')
    t.equal((await active(t, two)).response.status, 204)
    t.match(await endsIn(two), [{ id: 'm', status: 'interrupted' }])
    t.same(await two.app.chatEvents.getBotMessage('c', 'm'), { id: 'm', status: 'interrupted', chunks })
  })
}

t.test('a stop on another instance aborts the signal in the process of the producer, and it ends once', async (t) => {
  const { producer, readers: [two, three] } = await produce(t, [start, text('a')])
  const streams = [await streaming(t, producer), await streaming(t, two), await streaming(t, three)]
  for (const stream of streams) t.same(await read(stream, 2), [start, text('a')])
  await two.app.chatEvents.stopBotMessage('c')
  for (const stream of streams) t.same(await stream.rest(), [{ type: 'abort' }])
  await aborted(producer)
  t.match(await endsIn(three), [{ id: 'm', status: 'stopped' }])
})

t.test('a process that was frozen for longer than the lease finds its message ended, and adds nothing', async (t) => {
  const { producer, readers: [two] } = await produce(t, [start, text('a')])
  const stream = await streaming(t, two)
  t.same(await read(stream, 2), [start, text('a')])
  producer.freeze()
  t.same(await stream.rest(), [error])
  producer.thaw()
  await aborted(producer)
  t.match(await endsIn(two), [{ id: 'm', status: 'interrupted' }])
})
