import t, { type Test } from 'tap'
import { streamUIMessage, type UIChunk, type UIMessageSource, type UIMessageStream } from '../../../lib/ai/index.ts'
import { LocalPubSub, type BotMessageEnd } from '../../../lib/index.ts'
import { inTime } from '../../support/in-time.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { instance } from '../bot-messages/sides.ts'

t.beforeEach(nothingUnhandled)

const chunk: UIChunk = { type: 'text-delta', id: 't', delta: 'a' }

/** Streams a source, and stops the bot message while `begun` is pending. Resolves with how it has ended. */
async function stopDuring (t: Test, begun: Promise<void>, source: UIMessageSource): Promise<BotMessageEnd> {
  const chatEvents = instance(t, new LocalPubSub())
  const ended = streamUIMessage(chatEvents, 'c', source, { id: 'm' })
  await begun
  await chatEvents.stopBotMessage('c', 'm')
  return await ended
}

/** A source that is asked, and that the test answers. */
function heldSource (): {
  asked: Promise<void>, answer (stream: UIMessageStream | Promise<never>): void, source: UIMessageSource
} {
  let ask = (): void => {}
  let answer = (_stream: UIMessageStream | Promise<never>): void => {}
  const asked = new Promise<void>((resolve) => { ask = resolve })
  const answered = new Promise<UIMessageStream>((resolve) => { answer = resolve })
  return { asked, answer, source: () => { ask(); return answered } }
}

t.test('a stream that a source returns after its signal has aborted is cancelled', async (t) => {
  const { asked, answer, source } = heldSource()
  t.match(await stopDuring(t, asked, source), { status: 'stopped' })
  const cancelled = new Promise<void>((resolve) => {
    answer(new ReadableStream({ pull: () => new Promise(() => {}), cancel: () => { resolve() } }))
  })
  await inTime(cancelled, 'The cancel')
})

t.test('an iterable that a source returns after its signal has aborted is released, and not read', async (t) => {
  const { asked, answer, source } = heldSource()
  t.match(await stopDuring(t, asked, source), { status: 'stopped' })
  const released = new Promise<void>((resolve) => {
    answer({
      [Symbol.asyncIterator]: () => ({
        next: () => { t.fail('it was read'); return new Promise(() => {}) },
        return: async () => { resolve(); return { done: true, value: undefined } }
      })
    })
  })
  await inTime(released, 'The call of return()')
})

t.test('a source that rejects after its signal has aborted, or returns no stream, leaves nothing behind', async (t) => {
  const locked = new ReadableStream()
  locked.getReader()
  for (const late of [() => Promise.reject(new Error('late')), () => undefined as never, () => locked]) {
    const { asked, answer, source } = heldSource()
    t.match(await stopDuring(t, asked, source), { status: 'stopped' })
    answer(late())
  }
})

t.test('if a bot message is stopped while it starts, its source is not asked, or its stream cancelled', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  const asking = streamUIMessage(chatEvents, 'c', () => { t.fail('it was asked'); return new ReadableStream() }, {
    id: 'function'
  })
  await chatEvents.stopBotMessage('c', 'function')
  t.match(await asking, { status: 'stopped' })
  const cancelled = new Promise<void>((resolve) => {
    streamUIMessage(chatEvents, 'c', new ReadableStream({ cancel: () => { resolve() } }), { id: 'stream' })
  })
  await chatEvents.stopBotMessage('c', 'stream')
  await inTime(cancelled, 'The cancel')
})

t.test('a source that throws at once, or returns no stream, fails the bot message', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  const error = new Error('at once')
  await t.rejects(streamUIMessage(chatEvents, 'c', () => { throw error }, { id: 'throws' }), error)
  t.match(await chatEvents.getBotMessage('c', 'throws'), { status: 'failed', chunks: [{ type: 'error' }] })
  await t.rejects(streamUIMessage(chatEvents, 'c', () => undefined as never, { id: 'none' }), TypeError)
  t.match(await chatEvents.getBotMessage('c', 'none'), { status: 'failed', chunks: [{ type: 'error' }] })
})

for (const [name, release] of Object.entries({
  throws: () => { throw new Error('thrown at the end') },
  rejects: () => Promise.reject(new Error('rejected at the end')),
  hangs: () => new Promise<never>(() => {})
})) {
  t.test(`an iterator whose return() ${name} delays no end, and its failure is no unhandled one`, async (t) => {
    let released = 0
    let read = (): void => {}
    const begun = new Promise<void>((resolve) => { read = resolve })
    const iterable = (next: () => Promise<IteratorResult<UIChunk>>): AsyncIterable<UIChunk> => ({
      [Symbol.asyncIterator]: () => ({ next, return: () => { released++; return release() } })
    })
    const hanging = iterable(() => { read(); return new Promise(() => {}) })
    t.match(await stopDuring(t, begun, hanging), { status: 'stopped' })
    await until(async () => released, (count) => count === 1)

    const chatEvents = instance(t, new LocalPubSub())
    const broken = new Error('broken')
    const failing = iterable(() => Promise.reject(broken))
    await t.rejects(streamUIMessage(chatEvents, 'c', failing, { id: 'm' }), broken)
    const chunks = [chunk]
    const ending = iterable(async () => {
      const value = chunks.shift()
      return value === undefined ? { done: true, value } : { done: false, value }
    })
    t.match(await streamUIMessage(chatEvents, 'c', ending, { id: 'n' }), { status: 'finished' })
  })
}

t.test('an error of a source that has stopped its own bot message is no failure', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  const source = (): UIMessageStream => {
    chatEvents.stopBotMessage('c', 'm')
    throw new Error('It is stopped')
  }
  t.same(await streamUIMessage(chatEvents, 'c', source, { id: 'm' }), { id: 'm', status: 'stopped' })
})
