import t from 'tap'
import type { Field } from '../../../lib/pubsub/state-store.ts'
import { RealtimeError } from '../../../lib/errors.ts'
import { BotMessageProjection } from '../../../lib/bot-messages/projection.ts'
import type { Frame } from '../../support/fake-connection.ts'
import { FakeConnection } from '../../support/fake-connection.ts'
import { FakeTimers } from '../../support/fake-timers.ts'

const text = (value: string, expired = false): Field => ({ value, text: true, expired })

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
  const end = (json: string): void => view.event.receive({ from: 'x', timestamp: 1, event: 'bot_message', json })
  return { view, fields, sent, interrupted, snapshot: () => dataOf(view.snapshot()), end }
}

t.test('a bot message that has ended is not sent again, although the state still has it', async (t) => {
  const { view, fields, sent, interrupted, snapshot, end } = start()
  fields.set('answer:a', text('ab'))
  view.field('answer:a', text('ab'), undefined)
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
  change(text(''), text('ab'))
  t.same([sent, snapshot()], [[[0, ''], [0, 'ab']], [[0, 'ab']]])
  change(text(''), undefined)
  t.same(sent.at(-1), [0, 'ab'], 'a client that reloads gets it')
  change(text('abc'), text(''))
  t.same([sent.at(-1), snapshot()], [[0, 'abc'], [[0, 'abc']]])
  change(text(''), text('abc'))
  change(undefined, text(''))
  change(text(''), undefined)
  t.same([sent.at(-1), snapshot()], [[0, ''], [[0, '']]], 'after its end none of it is left')
})

t.test('a text that Redis has lost ends with the text that was sent', async (t) => {
  const fields = new Map([['answer:a', text('', true)]])
  const interrupted: string[] = []
  const room = { chatId: 'c', fields, write () {}, emit () {} }
  const view = new BotMessageProjection(room, async (_chatId, _id, text) => {
    interrupted.push(text)
  })
  view.field('answer:a', text('ab'), undefined)
  view.field('answer:a', text('', true), text('ab'))
  t.same(interrupted, ['ab'])
})

t.test('only an event that is the end of a bot message ends it', async (t) => {
  const { view, fields, snapshot, end } = start()
  fields.set('answer:a', text('a'))
  for (const json of ['garbage', 'null', '{"id":5}', '{}']) end(json)
  t.same(snapshot(), [[0, 'a']])
  t.equal(view.event.name, 'bot_message')
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
