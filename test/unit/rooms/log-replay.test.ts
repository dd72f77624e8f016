import t from 'tap'
import { ByteBudget } from '../../../lib/pubsub/byte-budget.ts'
import { LogReplay } from '../../../lib/rooms/log-replay.ts'
import { LogPages } from '../../../lib/rooms/log-pages.ts'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'
import type { EventLog, LogPage, LogEntry } from '../../../lib/pubsub/event-log.ts'

const top = { epoch: 'e', offset: 9, tag: 9 }
const first: LogEntry = {
  from: 'me',
  timestamp: 0,
  event: 'message',
  json: '1',
  position: { epoch: 'e', offset: 5, tag: 5, previousTag: 4, isMarker: false }
}

t.test('the last events start at the position of the log, before the first event, or at the end', async (t) => {
  const startIn = async (page: LogPage): Promise<unknown> => {
    const log: EventLog = { read: async () => page, heads: async () => [] }
    const pages = new LogPages('c', log, new ReadGate(1_000))
    return await new LogReplay('c', pages, 10, new ByteBudget(1_000)).startOfLast(5)
  }
  const start = { epoch: 'e', offset: 3, tag: 3 }
  t.same(await startIn({ head: top, start, entries: [] }), start)
  t.same(
    await startIn({ head: top, entries: [first] }),
    { epoch: 'e', offset: 4, tag: 4 },
    'a log that cannot count bytes'
  )
  t.same(await startIn({ head: top, entries: [] }), top, 'a log that has nothing left')
})

t.test('a page that is dropped takes no memory', async (t) => {
  const budget = new ByteBudget(1_000)
  const page: LogPage = { head: first.position, entries: [first] }
  const log: EventLog = { read: async () => page, heads: async () => [] }
  const replay = new LogReplay('c', new LogPages('c', log, new ReadGate(100_000)), 10, budget)
  const { buffer } = await replay.lastPage(top)
  const { bytes } = budget
  t.ok(bytes > 0)
  t.equal(buffer.after(buffer.base)?.frames.length, 1)
  t.ok(budget.bytes > bytes)
  replay.dropLastPage()
  await undefined
  t.equal(budget.bytes, 0)
})
