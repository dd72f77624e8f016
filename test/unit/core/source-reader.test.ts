import t from 'tap'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { openSource } from '../../../lib/core/source-reader.ts'
import { until } from '../../support/until.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

async function * numbers (): AsyncGenerator<{ number: number }> {
  for (let number = 0; ; number++) yield { number }
}

const sources = { 'an iterable': numbers, 'a stream': () => ReadableStream.from(numbers()) }

for (const [name, source] of Object.entries(sources)) {
  t.test(`what was read of ${name} is not kept until the signal aborts`, async (t) => {
    const controller = new AbortController()
    const reader = await openSource(source, controller.signal)
    const readOne = async (): Promise<WeakRef<{ number: number }>> =>
      new WeakRef((await reader.next() as { value: { number: number } }).value)
    const first = await readOne()
    t.same((await reader.next())?.value, { number: 1 })
    await until(async () => { collectGarbage(); return first.deref() === undefined }, Boolean)
    controller.abort()
    t.equal(await reader.next(), undefined)
    reader.cancel()
  })
}

/** A stream that is cancelled without being read. */
function unread (): { stream: ReadableStream<string>, cancelled: Promise<void> } {
  let cancel = (): void => {}
  const cancelled = new Promise<void>((resolve) => { cancel = resolve })
  return { stream: new ReadableStream({ cancel: () => { cancel() } }), cancelled }
}

t.test('after its signal has aborted, a function is not called, and a source is released', async (t) => {
  const unopened = await openSource<string>(() => { t.fail('called'); return unread().stream }, AbortSignal.abort())
  t.equal(await unopened.next(), undefined)
  unopened.cancel()
  const { stream, cancelled } = unread()
  t.equal(await (await openSource(stream, AbortSignal.abort())).next(), undefined)
  await cancelled
})

t.test('what a function returns that aborts the signal itself is released', async (t) => {
  const controller = new AbortController()
  const { stream, cancelled } = unread()
  const reader = await openSource(() => { controller.abort(); return stream }, controller.signal)
  t.equal(await reader.next(), undefined)
  await cancelled
})
