import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { RedisPubSub, type BotMessageWriter, type StateStore } from '../../../lib/index.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { apart } from './apart.ts'
import { LEASE, open } from './sides.ts'

t.beforeEach(nothingUnhandled)

/** Lets a bot message's lease expire without its producer noticing, once all of it is written: a write renews it. */
async function expire (admin: Redis, botMessage: BotMessageWriter, length = 4): Promise<void> {
  await until(() => admin.hget('rt:{chat:c}:f', `=answer%3A${botMessage.id}`), (record) => {
    return record?.startsWith(`d ${length} `) === true
  })
  await admin.zadd('rt:{chat:c}:l', 1, `answer%3A${botMessage.id}`)
}

t.test('a bot message with an expired lease is interrupted once, and its producer gets an error', async (t) => {
  const { one, two, admin } = await apart(t, { botMessageLeaseMs: 60_000 })
  const readers = await Promise.all([one, two, one, two].map((side) => open(t, side)))
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  for (const { stream, reader } of readers) await reader.text(stream, botMessage.id, 'Once')
  await expire(admin, botMessage)
  for (const { stream, reader } of readers) t.match(await reader.end(stream), { status: 'interrupted', text: 'Once' })
  await botMessage.append(' upon')
  await until(async () => botMessage.signal.aborted, Boolean)
  t.match(botMessage.signal.reason, { code: 'RT_BOT_MESSAGE_ENDED', message: /interrupted/ })
  await t.rejects(botMessage.append('x'), { code: 'RT_BOT_MESSAGE_ENDED' })
  t.same(await botMessage.finish(), { status: 'interrupted' })
  await one.app.chatEvents.emitChatMessage('c', {})
  for (const { stream, reader } of readers) {
    t.match(await stream.next(), { event: /^message$/ })
    t.same(reader.faults, [])
  }
})

t.test('finishing a bot message that was interrupted returns its end', async (t) => {
  const { one, two, admin } = await apart(t, { botMessageLeaseMs: 60_000 })
  const { stream, reader } = await open(t, two)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  await expire(admin, botMessage)
  t.match(await reader.end(stream), { status: 'interrupted' })
  t.same(await botMessage.finish(), { status: 'interrupted' })
  t.ok(botMessage.signal.aborted)
})

t.test('opening a chat interrupts a bot message that its producer abandoned', async (t) => {
  const { one, two, admin } = await apart(t, { botMessageLeaseMs: 60_000 })
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  await expire(admin, botMessage)
  // It may have been interrupted before the stream begins.
  const { stream, reader } = await open(t, two, 'c', '?rewind=1')
  t.match(await reader.end(stream), { status: 'interrupted', text: 'Once' })
})

t.test('a bot message ends when its producer stops renewing the lease, and not before', async (t) => {
  const { one, two } = await apart(t)
  const { stream, reader } = await open(t, two)
  const alive = await one.app.chatEvents.startBotMessage('c', { id: 'alive' })
  await one.app.chatEvents.startBotMessage('c', { id: 'alive too' })
  const { state } = one.app.pubsub as RedisPubSub & { state: StateStore }
  await state.change('chat:c', {
    operation: 'open',
    field: 'answer:dead',
    value: JSON.stringify({ format: 'text', startedAt: 1 }),
    leaseMs: LEASE,
    owner: 'a process that was killed',
    key: 'bot_message:dead'
  })
  await state.change('chat:c', {
    operation: 'append',
    field: 'answer:dead',
    piece: { at: 0, end: 4, content: 'Once' },
    leaseMs: LEASE,
    owner: 'a process that was killed'
  })
  const since = performance.now()
  t.match(await reader.end(stream), { id: 'dead', status: 'interrupted', text: 'Once' })
  t.ok(performance.now() - since >= LEASE * 0.9)
  await delay(2 * LEASE)
  await alive.append('still here')
  await alive.finish()
  t.match(await reader.end(stream), { id: 'alive', status: 'finished', text: 'still here' })
})

t.test('the first append of a producer that slept fails if its bot message is over', async (t) => {
  const { one, two } = await apart(t, { botMessageLeaseMs: 100 })
  const { stream, reader } = await open(t, two)
  const { state } = one.app.pubsub as RedisPubSub & { state: StateStore }
  const renew = state.renew.bind(state)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  state.renew = () => new Promise(() => {})
  t.match(await reader.end(stream), { status: 'interrupted' })
  await t.rejects(botMessage.append(' upon'), { code: 'RT_BOT_MESSAGE_ENDED' })
  t.ok(botMessage.signal.aborted)
  state.renew = renew
  const second = await one.app.chatEvents.startBotMessage('c')
  state.renew = () => new Promise(() => {})
  t.match(await reader.end(stream), { status: 'interrupted' })
  state.renew = renew
  await until(async () => second.signal.aborted, Boolean)
  t.pass('or by renewing its lease')
})

t.test('a bot message that can\'t be interrupted now is interrupted later', async (t) => {
  const { one, admin } = await apart(t, { botMessageLeaseMs: 60_000 })
  const { stream, reader } = await open(t, one)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  const { state } = one.app.pubsub as RedisPubSub & { state: StateStore }
  const finalize = state.finalize.bind(state)
  let fails = 0
  state.finalize = (...args) => fails++ === 0 ? Promise.reject(new Error('away')) : finalize(...args)
  await expire(admin, botMessage, 0)
  t.match(await reader.end(stream), { status: 'interrupted' })
  t.equal(fails, 2)
})
