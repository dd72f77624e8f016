import t from 'tap'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import { streamUIMessage } from '../../../lib/ai/index.ts'
import { inTime } from '../../support/in-time.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { setups } from '../bot-messages/setups.ts'
import type { Side } from '../bot-messages/sides.ts'
import { answerWith, text, UIStream } from './ui-stream.ts'

t.beforeEach(nothingUnhandled)

const MAX_BUFFERED = 200_000
/** 7 MB, more than the buffers of the system take. */
const CHUNKS = Array.from({ length: 7_000 }, (_, n) => text(`${n} ${'x'.repeat(950)}`))
const STREAM = [...CHUNKS.map((chunk) => JSON.stringify(chunk)), '[DONE]'].map((data) => `data: ${data}\n\n`).join('')

/** A client that has the response, and reads nothing of it yet. */
async function openSlow ({ url }: Side): Promise<IncomingMessage> {
  const [response] = await inTime(once(get(`${url}/api/ask?id=m`), 'response'), 'The response') as [IncomingMessage]
  return response.pause()
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(`${name}, a reader that is slow delays no other, takes little memory, and gets all`, async (t) => {
    const { one, two } = await setup(t, { maxBufferedBytes: MAX_BUFFERED }, { setup: answerWith })
    const accepted = once(two.app.server, 'connection') as Promise<[Socket]>
    let begin = (): void => {}
    const begun = new Promise<void>((resolve) => { begin = resolve })
    const ended = streamUIMessage(one.app.chatEvents, 'c', async function * () {
      await begun
      yield * CHUNKS
    }, { id: 'm' })
    await until(() => two.app.chatEvents.activeBotMessage('c', 'ui-message'), (id) => id === 'm')
    const slow = await openSlow(two)
    const [socket] = await accepted
    const fast = await UIStream.open(t, `${two.url}/api/ask?id=m`)
    begin()
    let most = 0
    for (const chunk of CHUNKS) {
      const next = await fast.chunk()
      if (JSON.stringify(next) !== JSON.stringify(chunk)) return t.same(next, chunk, 'no chunk is missing')
      most = Math.max(most, socket.writableLength)
    }
    t.same(await fast.rest(), [])
    t.match(await ended, { status: 'finished' })
    t.ok(most > 0 && most <= MAX_BUFFERED, `at most ${most} bytes were buffered`)
    t.equal(await textOf(slow) === STREAM, true, 'the slow reader gets all, once and in order')
  })
}
