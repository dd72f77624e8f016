import t from 'tap'
import type { Field } from '../../../lib/pubsub/state-store.ts'
import { RealtimeError } from '../../../lib/errors.ts'
import { BotMessageProjection } from '../../../lib/bot-messages/projection.ts'
import type { Frame } from '../../support/fake-connection.ts'
import { FakeConnection } from '../../support/fake-connection.ts'
import { FakeTimers } from '../../support/fake-timers.ts'

const text = (value: string, expired = false): Field => ({ value, text: true, expired })

function start (): { view: BotMessageProjection, fields: Map<string, Field>, told: unknown[], interrupted: string[], snapshot: () => unknown[], end: (json: string) => void } {
  const fields = new Map<string, Field>()
  const told: unknown[] = []
  const interrupted: string[] = []
  const dataOf = (frames: Buffer[]): unknown[] => {
    const got: Frame[] = []
    new FakeConnection((frame) => { got.push(frame) }).write(Buffer.concat(frames))
    return got.map(({ data }) => { const { at, text } = JSON.parse(data.toString()); return [at, text] })
  }
  const view = new BotMessageProjection({ chatId: 'c', fields, write: (frame) => { told.push(...dataOf([frame])) }, emit () {} }, async (_chatId, id) => { interrupted.push(id) })
  const end = (json: string): void => view.event({ from: 'x', timestamp: 1, event: 'bot_message', json })
  return { view, fields, told, interrupted, snapshot: () => dataOf(view.snapshot()), end }
}

t.test('what the state still says of an answer that has ended is not told', async (t) => {
  const { view, fields, told, interrupted, snapshot, end } = start()
  fields.set('answer:a', text('ab'))
  view.field('answer:a', text('ab'), undefined)
  t.same(snapshot(), [[0, 'ab']])
  end('{"id":"a"}')
  fields.set('answer:a', text('abc', true))
  view.field('answer:a', text('abc', true), text('ab'))
  view.field('answer:a', undefined, text('abc', true))
  t.same([told, snapshot(), interrupted], [[[0, 'ab']], [], []])
})

t.test('a piece begins where the text that was told ends, or replaces it', async (t) => {
  const { view, told } = start()
  view.field('answer:a', text('ab😀'), undefined)
  view.field('answer:a', text('ab😀c'), text('ab😀'))
  view.field('answer:a', text('other'), text('ab😀c'))
  view.field('answer:a', text('other', true), text('other'))
  t.same(told, [[0, 'ab😀'], [4, 'c'], [0, 'other']])
})

t.test('where Redis has lost a text, what was told of it stands until it is put back', async (t) => {
  const { view, fields, told, snapshot } = start()
  const change = (after: Field | undefined, before: Field | undefined): void => {
    after === undefined ? fields.delete('answer:a') : fields.set('answer:a', after)
    view.field('answer:a', after, before)
  }
  change(text(''), undefined)
  change(text('ab'), text(''))
  change(text(''), text('ab'))
  t.same([told, snapshot()], [[[0, ''], [0, 'ab']], [[0, 'ab']]])
  change(text(''), undefined)
  t.same(told.at(-1), [0, 'ab'], 'who reloads is told it')
  change(text('abc'), text(''))
  t.same([told.at(-1), snapshot()], [[0, 'abc'], [[0, 'abc']]])
  change(text(''), text('abc'))
  change(undefined, text(''))
  change(text(''), undefined)
  t.same([told.at(-1), snapshot()], [[0, ''], [[0, '']]], 'after its end none of it is left')
})

t.test('a text that Redis has lost is ended with what was told of it', async (t) => {
  const fields = new Map([['answer:a', text('', true)]])
  const interrupted: string[] = []
  const view = new BotMessageProjection({ chatId: 'c', fields, write () {}, emit () {} }, async (_chatId, _id, text) => { interrupted.push(text) })
  view.field('answer:a', text('ab'), undefined)
  view.field('answer:a', text('', true), text('ab'))
  t.same(interrupted, ['ab'])
})

t.test('what is no end of an answer ends none', async (t) => {
  const { view, fields, snapshot, end } = start()
  fields.set('answer:a', text('a'))
  for (const json of ['garbage', 'null', '{"id":5}', '{}']) end(json)
  view.event({ from: 'x', timestamp: 1, event: 'message', json: '{"id":"a"}' })
  t.same(snapshot(), [[0, 'a']])
})

t.test('an answer that can\'t be ended now is tried later, unless all is over here', async (t) => {
  const timers = new FakeTimers()
  timers.install()
  t.teardown(() => timers.uninstall())
  const codes = ['RT_PUBLISH_REJECTED', 'RT_CLOSED'] as const
  const fields = new Map([['answer:a', text('a', true)]])
  let tries = 0
  const view = new BotMessageProjection({ chatId: 'c', fields, write () {}, emit () {} }, async () => { throw new RealtimeError(codes[tries++] ?? 'RT_CLOSED') })
  view.field('answer:a', text('a', true), undefined)
  await new Promise(setImmediate)
  t.equal(timers.size, 1)
  timers.fire()
  await new Promise(setImmediate)
  t.same([tries, timers.size], [2, 0])
})
