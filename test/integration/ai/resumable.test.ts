import t from 'tap'
import { streamUIMessage, type UIChunk } from '../../../lib/ai/index.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { setups } from '../bot-messages/setups.ts'
import { answerWith, UIStream } from './ui-stream.ts'

// What the tests of another resumable store expect, as far as it has a meaning here.

t.beforeEach(nothingUnhandled)

const chunks: UIChunk[] = Array.from({ length: 50 }, (_, n) =>
  ({ type: 'text-delta', id: 't', delta: `${n} é 漢 😀 "\\\u2028` }))

/** A source that yields half of the chunks, and the rest when `goOn` is called. */
function halves (): { source: () => AsyncGenerator<UIChunk>, goOn: () => void } {
  let goOn = (): void => {}
  const going = new Promise<void>((resolve) => { goOn = resolve })
  const source = async function * (): AsyncGenerator<UIChunk> {
    yield * chunks.slice(0, 25)
    await going
    yield * chunks.slice(25)
  }
  return { source, goOn }
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('ten readers that join midway, and one after the end, get the same chunks in order', async (t) => {
      const { one, two } = await setup(t, {}, { setup: answerWith })
      const { source, goOn } = halves()
      const ended = streamUIMessage(one.app.chatEvents, 'c', source, { id: 'm' })
      const read = (n: number): Promise<UIStream> => UIStream.open(t, `${[one, two][n % 2]?.url}/api/ask?id=m`)
      const first = await read(0)
      t.same(await first.chunk(), chunks[0])
      const readers = await Promise.all(chunks.slice(0, 10).map((_, n) => read(n)))
      goOn()
      for (const reader of readers) t.same(await reader.rest(), chunks)
      t.same(await ended, { id: 'm', status: 'finished' })
      t.same(await (await read(1)).rest(), chunks)
    })

    t.test('a producer goes on after its only reader has disconnected', async (t) => {
      const { one, two } = await setup(t, {}, { setup: answerWith })
      const { source, goOn } = halves()
      const ended = streamUIMessage(one.app.chatEvents, 'c', source, { id: 'm' })
      const controller = new AbortController()
      const stream = await UIStream.open(t, `${one.url}/api/ask?id=m`, { signal: controller.signal })
      t.same(await stream.chunk(), chunks[0])
      controller.abort()
      goOn()
      t.same(await ended, { id: 'm', status: 'finished' })
      t.same(await (await UIStream.open(t, `${two.url}/api/ask?id=m`)).rest(), chunks)
    })

    t.test('an id has one producer, also on another instance and after the end', async (t) => {
      const { one, two } = await setup(t, {}, { setup: answerWith })
      const { source, goOn } = halves()
      const ended = streamUIMessage(one.app.chatEvents, 'c', source, { id: 'm' })
      await (await UIStream.open(t, `${one.url}/api/ask?id=m`)).chunk()
      const again = (): Promise<object> => streamUIMessage(two.app.chatEvents, 'c', source, { id: 'm' })
      await t.rejects(again(), { code: 'RT_BOT_MESSAGE_EXISTS' })
      goOn()
      t.same(await ended, { id: 'm', status: 'finished' })
      await t.rejects(again(), { code: 'RT_BOT_MESSAGE_EXISTS' })
    })
  })
}
