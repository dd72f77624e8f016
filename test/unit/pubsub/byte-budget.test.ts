import t from 'tap'
import { ByteBudget } from '../../../lib/pubsub/byte-budget.ts'
import { EventRing } from '../../../lib/pubsub/event-ring.ts'
import { LocalLog } from '../../../lib/pubsub/local/log.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import type { LogEntry } from '../../../lib/pubsub/event-log.ts'

const event = (offset: number, bytes: number): LogEntry => ({
  from: 'x',
  timestamp: 0,
  event: 'message',
  json: 'x'.repeat(bytes),
  position: { epoch: 'e', offset, tag: offset, previousTag: offset - 1, isMarker: false }
})

function push (run: EventRing, count: number, bytes: number): void {
  for (let n = 0; n < count; n++) run.push(event(run.head.offset + 1, bytes))
}

const start = { epoch: 'e', offset: 0, tag: 0 }

t.test('rings that share a budget drop their older halves in turn, and an older ring has no advantage', async (t) => {
  const budget = new ByteBudget(100_000)
  const runs = Array.from({ length: 10 }, () => new EventRing(start, { budget }))
  for (let n = 0; n < 50; n++) {
    for (const run of runs) push(run, 1, 1_000)
    t.ok(budget.bytes <= 100_000)
  }
  t.equal(budget.bytes, runs.reduce((sum, { bytes }) => sum + bytes, 0))
  for (const run of runs) {
    t.ok(run.size >= 3 && run.size <= 12, `${run.size} are left`)
    t.match(run.head, { offset: 50 })
  }
})

t.test('dropped and cleared bytes no longer count, and an empty ring is not asked to drop events', async (t) => {
  const budget = new ByteBudget(10_000)
  const [one, other] = [new EventRing(start, { budget }), new EventRing(start, { budget, capacity: 3 })]
  push(one, 4, 1_000)
  push(other, 10, 1_000)
  t.equal(other.size, 3)
  one.clear()
  t.match([one.size, one.bytes, one.head], [0, 0, { offset: 4 }])
  t.equal(budget.bytes, other.bytes)
  push(other, 1, 20_000)
  t.equal(other.size, 0, 'an event that is larger than all may be is not kept')
  t.equal(budget.bytes, 0)
  push(one, 1, 1_000)
  t.match(one.head, { offset: 5 }, 'and the next one is')
  t.equal(one.size, 1)
})

t.test('a ring has at most its limit of bytes, or one event', async (t) => {
  const run = new EventRing(start, { bytes: 10_000 })
  push(run, 20, 1_000)
  t.equal(run.size, 9)
  push(run, 1, 50_000)
  t.equal(run.size, 1)
  push(run, 1, 1_000)
  t.match([run.size, run.head], [1, { offset: 22 }])
})

t.test('the logs of LocalPubSub share a budget, and a reader of a trimmed event gets the gap', async (t) => {
  const log = new LocalLog({ size: 1_000, ttlMs: 60_000, idempotencyTtlMs: 60_000 })
  t.teardown(() => log.close())
  const json = 'x'.repeat(1_000_000)
  const channels = Array.from({ length: 10 }, (_, n) => `${n}`)
  const { head: top } = await log.read('0', undefined, 1)
  const envelope = { from: 'x', timestamp: 0, event: 'message', json }
  for (let n = 0; n < 30; n++) for (const channel of channels) log.append(channel, envelope, undefined)
  let kept = 0
  for (const channel of channels) {
    const { start } = await log.read(channel, undefined, 1_000, 0)
    kept += 30 - (start?.offset as number)
  }
  t.ok(kept * json.length <= budgets.localLogs && kept * json.length > budgets.localLogs / 2, `${kept} events`)
  t.match(await log.read('0', top, 10), { gap: 'trimmed' })
})
