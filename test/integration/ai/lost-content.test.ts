import t, { type Test } from 'tap'
import { Redis } from 'ioredis'
import { streamUIMessage, type UIChunk } from '../../../lib/ai/index.ts'
import type { RedisPubSub, StateStore } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { LEASE, open, type Side } from '../bot-messages/sides.ts'
import { active, answerWith, text, UIStream } from './ui-stream.ts'

t.beforeEach(nothingUnhandled)

/** More than an instance keeps, or an event repeats. */
const CHUNKS = Array.from({ length: 100 }, (_, n) => text(`${n} ${'x'.repeat(1_000)}`))

async function start (t: Test): Promise<{ side: Side, lose (end: string): Promise<void> }> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url)
  t.teardown(() => { admin.disconnect() })
  const side = await startApp(t, { redisUrl: redis.url, botMessageLeaseMs: LEASE }, { setup: answerWith })
  return { side, lose: async (end) => { await admin.del(`rt:{chat:c}${end}`) } }
}

const ask = (t: Test, { url }: Side): Promise<UIStream> => UIStream.open(t, `${url}/api/ask?id=m`)

t.test('if Redis has lost the content of a long message that has ended, its reader is cut', async (t) => {
  const { side, lose } = await start(t)
  await streamUIMessage(side.app.chatEvents, 'c', ReadableStream.from<UIChunk>(CHUNKS), { id: 'm' })
  await lose(':d:answer:m')
  await t.rejects((await ask(t, side)).next())
  t.equal((await fetch(`${side.url}/api/chats/c/bot-messages/m`)).status, 404)
})

/** The message of a process that was killed. */
async function leave ({ app }: Side): Promise<void> {
  const { state } = app.pubsub as RedisPubSub & { state: StateStore } // Redis has both.
  const draft = { field: 'answer:m', owner: 'a process that was killed', leaseMs: LEASE }
  const value = JSON.stringify({ format: 'chunks', protocol: 'ui-message', startedAt: 0 })
  await state.change('chat:c', { operation: 'open', ...draft, value, key: 'bot_message:m' })
  const content = CHUNKS.map((chunk) => `,${JSON.stringify(chunk)}`).join('')
  await state.change('chat:c', { operation: 'append', ...draft, piece: { at: 0, end: CHUNKS.length, content } })
}

t.test('if Redis loses the fields of a long message whose producer is dead, it ends without content', async (t) => {
  const { side, lose } = await start(t)
  const { stream } = await open(t, side)
  await leave(side)
  const reader = await active(t, side)
  for (const chunk of CHUNKS) t.same(await reader.chunk(), chunk)
  await lose(':f')
  const error = { type: 'error', errorText: 'The bot message was interrupted.' }
  t.same(await reader.rest(), [error], 'a UI message stream keeps what it has')
  const end = { id: 'm', status: 'interrupted' }
  for (;;) {
    const { id, data } = await stream.next()
    if (id === undefined) continue
    t.match(data, { ...end, at: 0, chunks: [] })
    break
  }
  t.same(await side.app.chatEvents.getBotMessage('c', 'm'), { ...end, chunks: [] })
  t.same(await (await ask(t, side)).rest(), [error])
})
