import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { Drain } from '../../../lib/bot-messages/drain.ts'
import type { BotMessageFollower } from '../../../lib/bot-messages/follower.ts'
import { BotMessageWriters } from '../../../lib/bot-messages/writers.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { LocalPubSub } from '../../../lib/index.ts'

/** A promise that the test resolves. */
function pending<T = void> (): { promise: Promise<T>, resolve: (value: T) => void } {
  let settle: (value: T) => void = () => {}
  const promise = new Promise<T>((resolve) => { settle = resolve })
  return { promise, resolve: (value) => settle(value) }
}

t.test('a closing app waits until all readers of its bot messages have the end', async (t) => {
  const [idle, synced, served] = [pending<Set<string>>(), pending(), pending()]
  const chatIds: string[] = []
  const writers = { size: 1, whenIdle: () => idle.promise } as unknown as BotMessageWriters
  const drain = new Drain({
    writers,
    syncChat: (chatId) => {
      chatIds.push(chatId)
      return synced.promise
    }
  })
  drain.add({ whenClosed: served.promise } as BotMessageFollower)
  let isOver = false
  const over = drain.run(600_000).then(() => { isOver = true })
  idle.resolve(new Set(['a', 'b']))
  await turn()
  t.same(chatIds, ['a', 'b'])
  synced.resolve()
  await turn()
  t.equal(isOver, false)
  served.resolve()
  await over
})

t.test('the chats of all bot messages that have ended meanwhile are reported', async (t) => {
  const pubsub = new LocalPubSub()
  t.teardown(() => pubsub.close())
  const writers = new BotMessageWriters({
    store: pubsub.state, windowMs: 0, leaseMs: 60_000, maxBytes: 1_000, maxPayloadBytes: 1_000, log: silentLogger
  })
  const early = await writers.start('a', undefined)
  const idle = writers.whenIdle()
  const late = await writers.start('b', undefined)
  await early.finish()
  await late.finish()
  t.same([...await idle], ['a', 'b'])
})
