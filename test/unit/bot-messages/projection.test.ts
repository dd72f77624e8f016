import t from 'tap'
import type { Field } from '../../../lib/pubsub/state-store.ts'
import { RealtimeError } from '../../../lib/errors.ts'
import { BotMessageProjection } from '../../../lib/bot-messages/projection.ts'
import type { Frame } from '../../support/fake-connection.ts'
import { FakeConnection } from '../../support/fake-connection.ts'
import { FakeTimers } from '../../support/fake-timers.ts'

const HEADER = JSON.stringify({ format: 'text', startedAt: 1 })

/** A bot message in progress. */
const text = (content: string, expired = false, value = HEADER): Field =>
  ({ value, draft: { length: content.length, content }, expired })

/** One whose content is too long to be kept. */
const long = (length: number, expired = false): Field =>
  ({ value: HEADER, draft: { length, content: undefined }, expired })

interface Stage {
  view: BotMessageProjection
  fields: Map<string, Field>
  sent: unknown[]
  interrupted: string[]
  snapshot: () => unknown[]
  end: (json: string) => void
}

function start (): Stage {
  const fields = new Map<string, Field>()
  const sent: unknown[] = []
  const interrupted: string[] = []
  const dataOf = (frames: Buffer[]): unknown[] => {
    const got: Frame[] = []
    new FakeConnection((frame) => { got.push(frame) }).write(Buffer.concat(frames))
    return got.map(({ data }) => { const { at, text } = JSON.parse(data.toString()); return [at, text] })
  }
  const view = new BotMessageProjection(
    {
      chatId: 'c',
      fields,
      write: (frame) => {
        sent.push(...dataOf([frame]))
      },
      emit () {}
    },
    async (_chatId, id) => {
      interrupted.push(id)
    }
  )
  const end = (json: string): void => view.receive({ from: 'x', timestamp: 1, event: 'bot_message', json })
  return { view, fields, sent, interrupted, snapshot: () => dataOf(view.snapshot()), end }
}

t.test('a bot message that has ended is not sent again, although the state still has it', async (t) => {
  const { view, fields, sent, interrupted, snapshot, end } = start()
  fields.set('answer:a', text('ab'))
  view.field('answer:a', text('ab'), undefined)
  view.field('presence:x:y', { value: '', expired: false }, undefined)
  t.same(snapshot(), [[0, 'ab']])
  end('{"id":"a"}')
  fields.set('answer:a', text('abc', true))
  view.field('answer:a', text('abc', true), text('ab'))
  view.field('answer:a', undefined, text('abc', true))
  t.same([sent, snapshot(), interrupted], [[[0, 'ab']], [], []])
})

t.test('a piece starts at the end of the text that was sent, or replaces that text', async (t) => {
  const { view, sent } = start()
  view.field('answer:a', text('ab😀'), undefined)
  view.field('answer:a', text('ab😀c'), text('ab😀'))
  view.field('answer:a', text('other'), text('ab😀c'))
  view.field('answer:a', text('other', true), text('other'))
  t.same(sent, [[0, 'ab😀'], [4, 'c'], [0, 'other']])
})

t.test('if Redis has lost a text, the text that was sent stays until it is restored', async (t) => {
  const { view, fields, sent, snapshot } = start()
  const change = (after: Field | undefined, before: Field | undefined): void => {
    after === undefined ? fields.delete('answer:a') : fields.set('answer:a', after)
    view.field('answer:a', after, before)
  }
  change(text(''), undefined)
  change(text('ab'), text(''))
  change(text('', false, ''), text('ab'))
  t.same([sent, snapshot()], [[[0, ''], [0, 'ab']], [[0, 'ab']]])
  change(text('', false, ''), undefined)
  t.same(sent.at(-1), [0, 'ab'], 'a client that reloads gets it')
  const { length } = sent
  change(text('a'), text('', false, ''))
  t.same([sent.length, snapshot()], [length, [[0, 'ab']]], 'a part that readers have is not sent again')
  view.field('answer:a', text('abc'), text('a'), { at: 1, end: 3, content: 'bc' })
  fields.set('answer:a', text('abc'))
  t.same([sent.at(-1), snapshot()], [[1, 'bc'], [[0, 'abc']]])
  change(text(''), text('abc'))
  change(undefined, text(''))
  change(text(''), undefined)
  t.same([sent.at(-1), snapshot()], [[0, ''], [[0, '']]], 'after its end none of it is left')
})

t.test('a text that Redis has lost ends with the text that was sent', async (t) => {
  const fields = new Map([['answer:a', text('', true, '')]])
  const interrupted: unknown[] = []
  const room = { chatId: 'c', fields, write () {}, emit () {} }
  const view = new BotMessageProjection(room, async (_chatId, _id, header, content) => {
    interrupted.push([header, content])
  })
  view.field('answer:a', text('ab'), undefined)
  view.field('answer:a', text('', true, ''), text('ab'))
  t.same(interrupted, [[JSON.parse(HEADER), { length: 2, joined: 'ab' }]])
})

t.test('a long text ends with the length that Redis has', async (t) => {
  const fields = new Map([['answer:a', long(50_000, true)]])
  const interrupted: unknown[] = []
  const room = { chatId: 'c', fields, write () {}, emit () {} }
  const view = new BotMessageProjection(room, async (_chatId, _id, _header, content) => {
    interrupted.push(content)
  })
  view.field('answer:a', long(50_000, true), long(80_000))
  t.same(interrupted, [{ length: 50_000, joined: undefined }])
})

t.test('of a long text each piece is sent, or its length if pieces were missed', async (t) => {
  const { view, fields, sent, snapshot } = start()
  fields.set('answer:a', long(100_002))
  view.field('answer:a', long(100_000), undefined)
  view.field('answer:a', long(100_002), long(100_000), { at: 100_000, end: 100_002, content: 'ab' })
  view.field('answer:a', long(100_005), long(100_002))
  t.same([sent, snapshot()], [[[100_000, ''], [100_000, 'ab'], [100_005, '']], [[100_002, '']]])
})

t.test('chunks are sent with their metadata, without being parsed', async (t) => {
  const frames: string[] = []
  const room = { chatId: 'c', fields: new Map(), write: (frame: Buffer) => { frames.push(`${frame}`) }, emit () {} }
  const view = new BotMessageProjection(room, async () => {})
  const value = JSON.stringify({ format: 'chunks', meta: { bot: 'x' }, startedAt: 1 })
  const chunks = (length: number, content: string): Field => ({ value, draft: { length, content }, expired: false })
  view.field('answer:a', chunks(1, ',{"n":1}'), undefined)
  view.field('answer:a', chunks(2, ',{"n":1},{"n": 1e3}'), chunks(1, ',{"n":1}'))
  const head = '{"type":"bot_message","chatId":"c","id":"a","status":"streaming","meta":{"bot":"x"},"at":'
  t.match(frames[0], `${head}0,"chunks":[{"n":1}]}`)
  t.match(frames[1], `${head}1,"chunks":[{"n": 1e3}]}`)
})

t.test('only an event that is the end of a bot message ends it', async (t) => {
  const { fields, snapshot, end } = start()
  fields.set('answer:a', text('a'))
  for (const json of ['garbage', 'null', '{"id":5}', '{}']) end(json)
  t.same(snapshot(), [[0, 'a']])
})

t.test('the latest ended bot messages are remembered', async (t) => {
  const { fields, snapshot, end } = start()
  for (const id of ['0', '1']) fields.set(`answer:${id}`, text(id))
  for (let n = 0; n <= 256; n++) end(`{"id":"${n}"}`)
  t.same(snapshot(), [[0, '0']])
})

t.test('a bot message that cannot be ended now is tried again later, unless the provider is closed', async (t) => {
  const timers = new FakeTimers()
  timers.install()
  t.teardown(() => timers.uninstall())
  const codes = ['RT_PUBLISH_REJECTED', 'RT_CLOSED'] as const
  const fields = new Map([['answer:a', text('a', true)]])
  let tries = 0
  const view = new BotMessageProjection({ chatId: 'c', fields, write () {}, emit () {} }, async () => {
    throw new RealtimeError(codes[tries++] ?? 'RT_CLOSED')
  })
  view.field('answer:a', text('a', true), undefined)
  await new Promise(setImmediate)
  t.equal(timers.size, 1)
  timers.fire()
  await new Promise(setImmediate)
  t.same([tries, timers.size], [2, 0])
})
