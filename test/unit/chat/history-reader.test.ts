import t from 'tap'
import { HistoryReader } from '../../../lib/chat/history-reader.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import type { Cursor } from '../../../lib/pubsub/cursor.ts'
import type { EventLog, LogEntry, LogPage } from '../../../lib/pubsub/event-log.ts'

/** An entry whose tag is its offset. `json` is its payload; without one, it is a discontinuity marker. */
function entry (offset: number, json?: string, event = 'message'): LogEntry {
  const position = { epoch: 'e', offset, tag: offset, previousTag: offset - 1, isMarker: json === undefined }
  return { from: 'test', timestamp: offset, event: json === undefined ? 'fence' : event, json: json ?? '{}', position }
}

const message = (offset: number): LogEntry => entry(offset, `{"type":"message","n":${offset}}`)

/** A log of these entries, which are in the order of their offsets. It reads pages of two entries at most. */
function logOf (entries: LogEntry[], change: (page: LogPage) => LogPage = (page) => page): EventLog {
  const last = entries.at(-1)?.position.offset ?? 0
  return {
    read: async (_channel, after, limit, _maxBytes, before) => {
      const between = entries.filter(({ position: { offset } }) =>
        offset > (after?.offset ?? 0) && offset < (before?.offset ?? Infinity))
      const most = Math.min(limit, 2)
      const page = after === undefined ? between.slice(-most) : between.slice(0, most)
      return change({ head: { epoch: 'e', offset: last, tag: last }, entries: page })
    },
    heads: async () => []
  }
}

const reader = (log: EventLog): HistoryReader => new HistoryReader(log, 65_536)

function offsetsOf ({ events, gap }: Awaited<ReturnType<HistoryReader['readOne']>>): unknown[] {
  return [...events.map(({ id }) => Number(id.split('-')[1])), gap]
}

t.test('a page with a discontinuity marker is not whole, and the next page goes on behind it', async (t) => {
  const history = reader(logOf([message(1), entry(2), entry(3), entry(4), message(5), message(6)]))
  t.same(offsetsOf(await history.readOne('c', { after: 'e-0-0' })), [1, 'failover'])
  t.same(offsetsOf(await history.readOne('c', { after: 'e-1-1' })), [5, 'failover'])
  t.same(offsetsOf(await history.readOne('c', { after: 'e-5-5' })), [6, null])
  t.same(offsetsOf(await history.readOne('c', undefined)), [5, 6, null])
  t.same(offsetsOf(await history.readOne('c', { before: 'e-5-5' })), [1, 'failover'])
  t.same(offsetsOf(await history.readOne('c', { before: 'e-5-5', limit: 1 })), [1, 'failover'])
  t.same(offsetsOf(await history.readOne('c', { before: 'e-1-1' })), [null])
})

t.test('a page of nothing but markers is empty, and not whole', async (t) => {
  const history = reader(logOf([message(1), entry(2), entry(3), entry(4)]))
  t.same(offsetsOf(await history.readOne('c', { after: 'e-1-1' })), ['failover'])
  t.same(await history.readOne('c', { after: 'e-4-4' }), { events: [], lastEventId: 'e-4-4', gap: null })
})

t.test('events that are missing within a page, or next to its bounds, make it a page that is not whole', async (t) => {
  const history = reader(logOf([message(1), message(3), message(4)]))
  t.same(offsetsOf(await history.readOne('c', { after: 'e-0-0' })), [1, 3, 'diverged'])
  t.same(offsetsOf(await history.readOne('c', { after: 'e-1-1' })), [3, 4, 'diverged'])
  t.same(offsetsOf(await history.readOne('c', { before: 'e-4-4' })), [1, 3, 'diverged'])
  t.same(offsetsOf(await history.readOne('c', { before: 'e-3-3' })), [1, 'diverged'])
  const another = message(2)
  another.position.previousTag = 9
  t.same(offsetsOf(await reader(logOf([message(1), another])).readOne('c', {})), [1, 2, 'diverged'], 'by its tag')
  another.position = { ...another.position, previousTag: 1, epoch: 'f' }
  t.same(offsetsOf(await reader(logOf([message(1), another])).readOne('c', {})), [1, 2, 'diverged'], 'by its epoch')
  const cut = logOf([message(1), message(2)], (page) => ({ ...page, entries: page.entries.slice(0, 1) }))
  t.same(offsetsOf(await reader(cut).readOne('c', {})), [1, 'diverged'], 'at the end of the log')
})

t.test('what is not JSON, or was published under another name than its type, is no event of the history', async (t) => {
  const history = reader(logOf([message(1), entry(2, 'hunter2'), entry(3, '{"type":"presence"}'), message(4)]))
  t.same(offsetsOf(await history.readOne('c', { after: 'e-0-0' })), [1, 'diverged'])
  t.same(offsetsOf(await history.readOne('c', { after: 'e-1-1' })), [4, 'diverged'])
  t.same(offsetsOf(await history.readOne('c', { after: 'e-2-2' })), [4, null])
})

t.test('the reason of the log why a position cannot be followed comes with no events', async (t) => {
  const history = reader(logOf([message(1), entry(2), entry(3)], (page) =>
    page.entries.some(({ position }) => position.offset === 1) ? { ...page, gap: 'trimmed', entries: [] } : page))
  t.same(await history.readOne('c', { after: 'e-0-0' }), { events: [], lastEventId: 'e-3-3', gap: 'trimmed' })
  t.same(offsetsOf(await history.readOne('c', undefined)), ['failover'], 'before it there was a marker')
})

t.test('a page takes no more bytes than its budget, whatever the log returns', async (t) => {
  const big = (offset: number): LogEntry => entry(offset, JSON.stringify('€'.repeat(budgets.page / 6)))
  const sizes = [message(1), big(2), message(3), big(4), big(5)]
  const history = reader({
    ...logOf(sizes),
    read: async (_channel, after) => ({
      head: { epoch: 'e', offset: 5, tag: 5 }, entries: after === undefined ? sizes : sizes.slice(after.offset)
    })
  })
  t.same(offsetsOf(await history.readOne('c', undefined)), [5, null])
  t.same(offsetsOf(await history.readOne('c', { after: 'e-0-0' })), [1, 2, 3, null])
  t.same(offsetsOf(await history.readOne('c', { after: 'e-4-4' })), [5, null])
  const page = await history.readOne('c', { after: 'e-0-0' })
  t.ok(Buffer.byteLength(JSON.stringify(page.events)) <= budgets.page)
})

t.test('reads wait for the bytes of others, at the size that their pages can have', async (t) => {
  let reading = 0
  let most = 0
  const ends: (() => void)[] = []
  const log: EventLog = {
    ...logOf([message(1)]),
    read: async () => {
      most = Math.max(most, ++reading)
      await new Promise<void>((resolve) => { ends.push(resolve) })
      reading--
      return { head: { epoch: 'e', offset: 1, tag: 1 } as Cursor, entries: [message(1)] }
    }
  }
  const history = reader(log)
  const reads: Promise<unknown>[] = Array.from({ length: 10 }, () => history.readOne('c', undefined))
  t.equal(reading, budgets.reads / budgets.page)
  reads.push(history.read(Array<string>(40).fill('c'), undefined), history.readOne('c', undefined))
  const all = Promise.all(reads)
  while (ends.length > 0) {
    ends.shift()?.()
    await new Promise(setImmediate)
    if (reading === 40) t.equal(ends.length, 40, 'forty large events are as many as one read may have: it runs alone')
    t.ok(reading <= 4 || reading <= 40)
  }
  await all
  t.equal(most, 40)
})
