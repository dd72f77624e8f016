import t, { type Test } from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { BotMessageWriter } from '../../../lib/bot-messages/writer.ts'
import { RealtimeError, type RealtimeErrorCode } from '../../../lib/errors.ts'
import type { BotMessageFormat } from '../../../lib/event-types.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import type { Finalization, StateReceipt, StateRequest, StateStore } from '../../../lib/pubsub/state-store.ts'
import type { PublishReceipt } from '../../../lib/pubsub/provider.ts'
import { FakeTimers } from '../../support/fake-timers.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'

/** With the length of the piece that was appended. */
const DONE: StateReceipt = { outcome: 'done', epoch: 'e', length: 0 }
const PUBLISHED: PublishReceipt = { id: 'e-1-1', duplicate: false }
const DUPLICATE: PublishReceipt = { id: 'e-1-1', duplicate: true }

/** One command of the writer that the test answers. */
interface Call<Request, Receipt> {
  request: Request
  answer (receipt: Receipt): Promise<void>
  fail (code: RealtimeErrorCode): Promise<void>
}

/** A store whose replies come from the test, in any order. */
class ManualStore {
  readonly changes: Call<StateRequest, StateReceipt>[] = []
  readonly finalizations: Call<Finalization, PublishReceipt | { epoch: string }>[] = []

  change (_channel: string, request: StateRequest): Promise<StateReceipt> {
    return call(this.changes, request).then((receipt) => {
      return request.operation === 'append' && receipt === DONE ? { ...DONE, length: request.piece.end } : receipt
    })
  }

  finalize (_channel: string, request: Finalization): Promise<PublishReceipt | { epoch: string }> {
    return call(this.finalizations, request)
  }
}

function call<Request, Receipt> (calls: Call<Request, Receipt>[], request: Request): Promise<Receipt> {
  return new Promise((resolve, reject) => {
    calls.push({
      request,
      answer: (receipt) => { resolve(receipt); return turn() },
      fail: (code) => { reject(new RealtimeError(code)); return turn() }
    })
  })
}

interface Started {
  writer: BotMessageWriter
  store: ManualStore
  /** How often the writer has reported its end. */
  ends: () => number
}

/** An open bot message. */
async function start (
  { windowMs = 0, leaseMs = 60_000, format = 'text' as BotMessageFormat } = {}
): Promise<Started> {
  const store = new ManualStore()
  let ends = 0
  const writer = new BotMessageWriter('a', { format, meta: { model: 'm' }, startedAt: 1 }, {
    chatId: 'c',
    channel: 'chat:c',
    store: store as unknown as StateStore, // The writer uses two of its methods.
    windowMs,
    leaseMs,
    maxBytes: 8_000,
    maxPayloadBytes: 1_000,
    log: silentLogger,
    onEnd: () => { ends++ }
  })
  const opened = writer.open()
  await store.changes.shift()?.answer(DONE)
  await opened
  return { writer, store, ends: () => ends }
}

async function rejectsAppend (t: Test, writer: BotMessageWriter, status: string): Promise<void> {
  await t.rejects(writer.append('late'), { code: 'RT_BOT_MESSAGE_ENDED', message: new RegExp(status) })
}

t.test('the first request to end decides how; later ones wait for it, and no text is appended', async (t) => {
  nothingUnhandled(t)
  const { writer, store, ends } = await start()
  const finished = writer.finish({ tokens: 1 })
  const later = [writer.fail('too late'), writer.finish()]
  const stopped = writer.stop('stopped')
  t.equal(writer.signal.aborted, true, 'a stop reaches the producer all the same')
  await rejectsAppend(t, writer, 'finished')
  t.equal(store.finalizations.length, 1)
  t.match(store.finalizations[0]?.request.event, { status: 'finished', extra: { tokens: 1 } })
  t.equal(ends(), 0, 'not before the reply')
  await store.finalizations[0]?.answer(PUBLISHED)
  t.same(await Promise.all([finished, ...later]), Array(3).fill({ status: 'finished' }))
  await stopped
  t.same(await writer.fail(), { status: 'finished' }, 'the end stays')
  await rejectsAppend(t, writer, 'finished')
  t.equal(ends(), 1)
  t.equal(store.finalizations.length, 1)
})

t.test('a request to end cancels the piece that is scheduled, since the end carries all of the text', async (t) => {
  nothingUnhandled(t)
  const timers = new FakeTimers()
  timers.install()
  t.teardown(() => timers.uninstall())
  const { writer, store } = await start({ windowMs: 60_000 })
  writer.append('one ')
  const first = { operation: 'append', piece: { content: 'one ' } }
  t.match(store.changes.shift()?.request, first, 'the first piece is sent at once')
  writer.append('two ')
  t.equal(store.changes.length, 0)
  writer.finish()
  t.equal(timers.size, 0)
  t.match(store.finalizations[0]?.request.event, { text: 'one two ' })
})

t.test('while a piece is being written, the text that follows waits for the window', async (t) => {
  nothingUnhandled(t)
  const timers = new FakeTimers()
  timers.install()
  t.teardown(() => timers.uninstall())
  const { writer, store } = await start({ windowMs: 60_000 })
  writer.append('one ')
  writer.append('two ')
  t.equal(timers.size, 0)
  await store.changes.shift()?.answer(DONE)
  writer.append('three ')
  t.equal(timers.size, 1, 'one flush is scheduled')
  timers.fire()
  t.equal(store.changes.length, 1)
  t.match(store.changes[0]?.request, { piece: { content: 'two three ', at: 4, end: 14 } })
  await store.changes.shift()?.answer(DONE)
  t.equal(store.changes.length + timers.size, 0, 'nothing is written if nothing was appended')
})

t.test('only one piece is written at a time, also if its end fails meanwhile', async (t) => {
  nothingUnhandled(t)
  const { writer, store } = await start()
  writer.append('one ')
  const finished = t.rejects(writer.finish(), { code: 'RT_PAYLOAD_TOO_LARGE' })
  await store.finalizations.shift()?.fail('RT_PAYLOAD_TOO_LARGE')
  await finished
  writer.append('two ')
  t.equal(store.changes.length, 1)
  await store.changes.shift()?.answer(DONE)
  t.match(store.changes[0]?.request, { piece: { content: 'two ', at: 4, end: 8 } })
})

t.test('without a confirmed lease, `append` waits for the piece that is being written', async (t) => {
  nothingUnhandled(t)
  const { writer, store } = await start({ leaseMs: 0 })
  let appended = false
  const append = writer.append('one').then(() => { appended = true })
  await turn()
  t.equal(appended, false)
  t.equal(store.changes.length, 1)
  await store.changes[0]?.answer(DONE)
  await append
})

for (const code of ['RT_PAYLOAD_TOO_LARGE', 'RT_PAYLOAD_INVALID'] as const) {
  t.test(`it is open again if its end fails with ${code}, and the text appended before is written`, async (t) => {
    nothingUnhandled(t)
    const timers = new FakeTimers()
    timers.install()
    t.teardown(() => timers.uninstall())
    const { writer, store, ends } = await start({ windowMs: 60_000 })
    writer.append('one ')
    await store.changes.shift()?.answer(DONE)
    writer.append('two ')
    const finished = t.rejects(writer.finish(), { code })
    await store.finalizations.shift()?.fail(code)
    await finished
    t.equal(timers.size, 1, 'the piece is scheduled again')
    writer.append('three ')
    timers.fire()
    t.match(store.changes.shift()?.request, { piece: { content: 'two three ' } })
    const failed = writer.fail()
    t.match(store.finalizations[0]?.request.event, { status: 'failed', text: 'one two three ' }, 'as something else')
    await store.finalizations[0]?.answer(PUBLISHED)
    t.same(await failed, { status: 'failed' })
    t.equal(ends(), 1)
  })
}

for (const [code, status] of [['RT_PUBLISH_UNKNOWN', 'finished'], ['RT_PUBLISH_REJECTED', 'interrupted']] as const) {
  t.test(`an end that fails with ${code} is retried with the lease; if it exists then, it is ${status}`, async (t) => {
    nothingUnhandled(t)
    const { writer, store, ends } = await start()
    const finished = t.rejects(writer.finish(), { code })
    await store.finalizations.shift()?.fail(code)
    await finished
    await rejectsAppend(t, writer, 'finished')
    const renewed = writer.renewed('e', false, 0)
    writer.renewed('e', false, 0)
    t.equal(store.finalizations.length, 1, 'one attempt at a time')
    t.match(store.finalizations[0]?.request.event, { status: 'finished' }, 'the end that was requested first')
    const joined = writer.fail()
    t.equal(store.finalizations.length, 1)
    await store.finalizations[0]?.answer(DUPLICATE)
    await renewed
    t.same(await joined, { status })
    t.equal(writer.signal.aborted, status === 'interrupted')
    t.equal(ends(), 1)
  })
}

t.test('it is interrupted if the provider is closed while a piece is being written', async (t) => {
  nothingUnhandled(t)
  const { writer, store, ends } = await start()
  writer.append('one')
  await store.changes.shift()?.fail('RT_CLOSED')
  t.equal(writer.signal.aborted, true)
  await rejectsAppend(t, writer, 'interrupted')
  t.same(await writer.finish(), { status: 'interrupted' })
  await writer.renewed('another', true, 0)
  t.equal(store.changes.length + store.finalizations.length, 0, 'the end is final: nothing more is sent')
  t.equal(ends(), 1)
})

t.test('it stays interrupted, whatever the outcome of the attempt to end it', async (t) => {
  nothingUnhandled(t)
  for (const [name, reply] of Object.entries({
    published: (store: ManualStore) => store.finalizations[0]?.answer(PUBLISHED),
    'too large': (store: ManualStore) => store.finalizations[0]?.fail('RT_PAYLOAD_TOO_LARGE')
  })) {
    const { writer, store, ends } = await start()
    writer.append('one')
    const finished = writer.finish().catch(({ code }: RealtimeError) => code)
    await store.changes.shift()?.fail('RT_CLOSED')
    t.equal(ends(), 1, name)
    await reply(store)
    t.same(await finished, name === 'published' ? { status: 'interrupted' } : 'RT_PAYLOAD_TOO_LARGE', name)
    await rejectsAppend(t, writer, 'interrupted')
    t.same(await writer.finish(), { status: 'interrupted' }, name)
    t.equal(ends(), 1, name)
  }
})

t.test('a lost lease ends an open bot message, but leaves the end of a finalizing one to the attempt', async (t) => {
  nothingUnhandled(t)
  const open = await start()
  await open.writer.renewed('e', true, 0)
  t.equal(open.writer.signal.aborted, true)
  t.equal(open.ends(), 1)
  const finalizing = await start()
  const finished = finalizing.writer.finish()
  await finalizing.writer.renewed('e', true, 0)
  t.equal(finalizing.ends(), 0)
  const late = await start()
  late.writer.append('one')
  const lateEnd = late.writer.finish()
  await late.store.changes.shift()?.answer({ outcome: 'over', epoch: 'e', length: 0 })
  t.equal(late.ends(), 0, 'a late piece does not decide how it ended')
  await late.store.finalizations[0]?.answer(PUBLISHED)
  t.same(await lateEnd, { status: 'finished' })
  await finalizing.store.finalizations[0]?.answer(PUBLISHED)
  t.same(await finished, { status: 'finished' })
})

t.test('an end that repeats nothing is sent once Redis has all of the content', async (t) => {
  nothingUnhandled(t)
  const { writer, store } = await start()
  writer.append('x'.repeat(2_000))
  await store.changes.shift()?.answer(DONE)
  const finished = writer.finish()
  t.match(store.changes[0]?.request, { operation: 'append', piece: { at: 2_000, end: 2_000, content: '' } })
  t.equal(store.finalizations.length, 0)
  await store.changes.shift()?.answer({ outcome: 'behind', epoch: 'e', length: 0 })
  t.match(store.changes[0]?.request, { piece: { at: 0, end: 2_000 } }, 'Redis had deleted it')
  await store.changes.shift()?.answer(DONE)
  t.match(store.finalizations[0]?.request, {
    keepContent: true, event: { at: 2_000, text: '', meta: { model: 'm' } }
  })
  await store.finalizations[0]?.answer(PUBLISHED)
  t.same(await finished, { status: 'finished' })
})

t.test('an end that repeats nothing is interrupted if another instance has ended the bot message', async (t) => {
  nothingUnhandled(t)
  const { writer, store, ends } = await start({ format: 'chunks' })
  for (let n = 0; n < 20; n++) writer.append({ text: 'x'.repeat(100) })
  await store.changes.shift()?.answer(DONE)
  const finished = writer.finish()
  await store.changes.shift()?.answer(DONE)
  await store.changes.shift()?.answer({ outcome: 'gone', epoch: 'e', length: 0 })
  t.match(store.finalizations[0]?.request, { keepContent: true, event: { at: 20, chunks: [] } })
  await store.finalizations[0]?.answer(DUPLICATE)
  t.same(await finished, { status: 'interrupted' })
  t.equal(ends(), 1)
})

t.test('an end whose data is not JSON leaves the bot message open', async (t) => {
  nothingUnhandled(t)
  const { writer, store } = await start()
  await t.rejects(writer.finish({ n: 1n } as object), { code: 'RT_PAYLOAD_INVALID' })
  await writer.append('one')
  t.equal(store.changes.length, 1)
  t.equal(store.finalizations.length, 0)
})
