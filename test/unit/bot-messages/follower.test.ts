import t, { type Test } from 'tap'
import { BotMessageFollower } from '../../../lib/bot-messages/follower.ts'
import type { BotMessagePage, BotMessageReader } from '../../../lib/bot-messages/reader.ts'
import { RealtimeError } from '../../../lib/errors.ts'
import type { ChatEventHandler } from '../../../lib/index.ts'
import type { Piece, StateChange, StateStore } from '../../../lib/pubsub/state-store.ts'

type Page = BotMessagePage | undefined

const piece = (at: number, ...names: string[]): Piece => ({
  at, end: at + names.length, content: names.map((name) => `,{"n":"${name}"}`).join('')
})

const page = (length: number, pieces: Piece[], status: 'streaming' | 'finished' = 'streaming'): BotMessagePage =>
  ({ head: { id: 'm', status }, format: 'chunks', protocol: undefined, length, pieces })

/** A follower whose pages the test chooses, one for each read. */
function follow (t: Test, pages: (Page | Error)[]): {
  follower: BotMessageFollower
  contents: AsyncGenerator<string, unknown>
  reads: number[]
  change (piece?: Piece, field?: string): void
  event: ChatEventHandler
  poll (): void
} {
  const reads: number[] = []
  const polls: (() => void)[] = []
  t.intercept(globalThis, 'setInterval', {
    value: (call: () => void) => {
      polls.push(call)
      return { unref () {} }
    }
  })
  let listener: (change: StateChange) => void = () => {}
  let handler: ChatEventHandler = () => {}
  const reader = {
    page: async (_chatId: string, _id: string, at: number) => {
      reads.push(at)
      const next = pages.shift()
      if (next instanceof Error) throw next
      return next
    }
  } as unknown as BotMessageReader
  const store = {
    watch: (_channel: string, added: typeof listener) => {
      listener = added
      return () => {}
    }
  } as unknown as StateStore
  const follower = new BotMessageFollower('c', 'm', {
    store,
    reader,
    onChatEvent: (_chatId, added) => {
      handler = added
      return () => {}
    }
  })
  t.teardown(() => follower.close())
  return {
    follower,
    contents: follower.contents(),
    reads,
    change: (piece, field = 'answer:m') => listener({
      version: { epoch: 'e', count: 1 }, operation: 'append', field, value: '', piece
    }),
    event: (event, info) => handler(event, info),
    poll: () => { for (const poll of polls) poll() }
  }
}

const unavailable = new RealtimeError('RT_LOG_UNAVAILABLE', 'down')

t.test('a broadcast that comes next is used as it is; any other leads to a read', async (t) => {
  const { contents, reads, change } = follow(t, [page(1, [piece(0, 'a')]), page(4, [piece(2, 'c', 'd')])])
  t.same(await contents.next(), { done: false, value: ',{"n":"a"}' })
  const second = contents.next()
  change(piece(0, 'x'), 'answer:other')
  change(piece(0, 'a', 'b'))
  t.same(await second, { done: false, value: ',{"n":"b"}' }, 'what it has already is left out')
  const third = contents.next()
  change(piece(3, 'd'))
  t.same(await third, { done: false, value: ',{"n":"c"},{"n":"d"}' })
  t.same(reads, [0, 2])
})

t.test('a long content is read in pages, and the final event leads to the end', async (t) => {
  const { contents, reads, event } = follow(t, [
    page(3, [piece(0, 'a'), piece(1, 'b')]), page(3, [piece(2, 'c')]), page(3, [], 'finished')
  ])
  for (const name of ['a', 'b', 'c']) t.same(await contents.next(), { done: false, value: `,{"n":"${name}"}` })
  const end = contents.next()
  const info = { timestamp: 1, from: 'x' }
  event({ type: 'message', chatId: 'c', message: {} }, info)
  event({ type: 'bot_message', chatId: 'c', id: 'other', status: 'finished', at: 0, text: '' }, info)
  event({ type: 'bot_message', chatId: 'c', id: 'm', status: 'finished', at: 3, chunks: [] }, info)
  t.same(await end, { done: true, value: { id: 'm', status: 'finished' } })
  t.same(reads, [0, 2, 3])
})

t.test('while Redis is down, or has lost content that is written again, it waits for the next check', async (t) => {
  const { contents, reads, poll } = follow(t, [unavailable, page(2, []), page(2, [piece(0, 'a', 'b')])])
  const first = contents.next()
  while (reads.length < 3) {
    poll()
    await new Promise(setImmediate)
  }
  t.same(await first, { done: false, value: ',{"n":"a"},{"n":"b"}' })
})

t.test('a bot message that stays missing counts as interrupted', async (t) => {
  const { contents, reads, poll } = follow(t, [undefined, page(0, [])])
  const end = contents.next()
  while (reads.length < 7) {
    poll()
    await new Promise(setImmediate)
  }
  t.same(await end, { done: true, value: { id: 'm', status: 'interrupted' } })
})

t.test('content that is lost after the end, and any other error, reject', async (t) => {
  await t.rejects(follow(t, [page(2, [], 'finished')]).contents.next(), { code: 'RT_BOT_MESSAGE_NOT_FOUND' })
  await t.rejects(follow(t, [new RealtimeError('RT_CLOSED', 'x')]).contents.next(), { code: 'RT_CLOSED' })
})

t.test('a closed follower ends, also while it waits', async (t) => {
  const { follower, contents } = follow(t, [page(0, [])])
  const end = contents.next()
  await new Promise(setImmediate)
  follower.close()
  t.same(await end, { done: true, value: undefined })
})
