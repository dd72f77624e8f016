import t from 'tap'
import { timing } from '../../../lib/core/timing.ts'
import { StalledChats } from '../../../lib/outbox/stalled-chats.ts'

t.test('a chat that has failed waits, longer each time, and is forgotten when it was due long ago', async (t) => {
  const stalled = new StalledChats()
  let now = 1_000
  t.intercept(performance, 'now', { value: () => now })
  t.equal(stalled.retryMs, Infinity)
  stalled.fail('a')
  const first = stalled.retryMs
  t.ok(first > 0 && first <= timing.outboxRetry)
  now += 10
  stalled.fail('b')
  stalled.fail('b')
  t.equal(stalled.retryMs, first - 10, 'the chat that is due first counts')
  t.same(stalled.waiting(), ['a', 'b'])
  now += timing.outboxRetry * 4
  t.same(stalled.waiting(), [], 'both are due')
  t.equal(stalled.retryMs, Infinity)
  now += 2 * timing.outboxRetryMax
  stalled.waiting()
  stalled.fail('a')
  t.ok(stalled.retryMs <= timing.outboxRetry, 'its earlier failures are forgotten')
  stalled.recover('a')
  t.equal(stalled.retryMs, Infinity)
})

t.test('if too many chats wait, all do', async (t) => {
  const stalled = new StalledChats()
  for (let n = 0; n < 999; n++) stalled.fail(`${n}`)
  t.equal(stalled.isFull, false)
  stalled.fail('last')
  t.equal(stalled.isFull, true)
})
