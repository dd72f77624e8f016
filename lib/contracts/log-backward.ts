import assert from 'node:assert/strict'
import type { Cursor } from '../pubsub/cursor.ts'
import type { LogGap } from '../pubsub/event-log.ts'
import type { Cases } from './contract.ts'
import {
  fill, freshLogName, logOf, positionOf, positionsOutside, readNumbers, range, type LogProvider, type OpenLog
} from './log.ts'

interface Bounds { after?: Cursor | undefined, before: Cursor | undefined, limit?: number, maxBytes?: number }

/** Reads a page before a cursor. Returns its gap, and the published number of each event. */
async function readBefore (
  provider: LogProvider, channel: string, { after, before, limit = 1_000, maxBytes }: Bounds
): Promise<{ gap: LogGap | undefined, numbers: number[] }> {
  const { gap, entries } = await logOf(provider).read(channel, after, limit, maxBytes, before)
  return { gap, numbers: entries.map(({ json }) => JSON.parse(json)) }
}

/** Cases about reading before a position, and about the reasons why that may be impossible. */
export const backward: Cases<OpenLog> = {
  async 'a log is read before any of its positions, the latest events first, in their order' (open) {
    const provider = await open()
    const c = freshLogName()
    const cursors = await fill(provider, c, 25)
    for (const to of [0, 1, 2, 12, 25]) {
      const before = cursors[to]
      assert.deepEqual(await readBefore(provider, c, { before }), { gap: undefined, numbers: range(1, to - 1) })
      assert.deepEqual(
        await readBefore(provider, c, { before, limit: 5 }),
        { gap: undefined, numbers: range(Math.max(1, to - 5), to - 1) }
      )
    }
  },

  async 'between two positions the first events are read' (open) {
    const provider = await open()
    const c = freshLogName()
    const cursors = await fill(provider, c, 25)
    for (const [from, to] of [[0, 25], [0, 1], [3, 4], [3, 5], [3, 20], [24, 25], [25, 25], [7, 7], [9, 4]] as const) {
      const [after, before] = [cursors[from], cursors[to]]
      assert.deepEqual(
        await readBefore(provider, c, { after, before }),
        { gap: undefined, numbers: range(from + 1, Math.max(from, to - 1)) },
        `${from} to ${to}`
      )
      assert.deepEqual(
        await readBefore(provider, c, { after, before, limit: 2 }),
        { gap: undefined, numbers: range(from + 1, Math.max(from, Math.min(to - 1, from + 2))) }
      )
    }
  },

  async 'all events of a log are read backward, whatever the byte limit of a page' (open) {
    const provider = await open()
    const c = freshLogName()
    const cursors = await fill(provider, c, 25)
    for (const maxBytes of [1, 60, 500, 1_000_000]) {
      const numbers = [25]
      while (numbers[0] !== 1) {
        const page = await readBefore(provider, c, { before: cursors[numbers[0] as number], limit: 10, maxBytes })
        assert.equal(page.gap, undefined)
        assert.ok(page.numbers.length > 0 && page.numbers.length <= 10, `a page of ${page.numbers.length}`)
        numbers.unshift(...page.numbers)
      }
      assert.deepEqual(numbers, range(1, 25))
    }
  },

  async 'a position before which no reader can read is a gap with a reason' (open) {
    const provider = await open()
    const c = freshLogName()
    const cursors = await fill(provider, c, 5)
    const [start, head] = [cursors[0] as Cursor, cursors[5] as Cursor]
    for (const [reason, before] of positionsOutside(cursors)) {
      for (const after of [undefined, start, head]) {
        const page = await logOf(provider).read(c, after, 10, undefined, before)
        assert.deepEqual(page, { head, gap: reason, entries: [] }, reason)
      }
    }
    const after = { ...start, tag: 1 }
    assert.deepEqual(await readBefore(provider, c, { after, before: head }), { gap: 'diverged', numbers: [] })
    const empty = await logOf(provider).read(freshLogName(), undefined, 10, undefined, head)
    assert.deepEqual([empty.gap, empty.head.offset, empty.entries], ['epoch', 0, []], 'also in an empty log')
  },

  async 'an empty log has nothing before its position' (open) {
    const provider = await open()
    const c = freshLogName()
    const { head } = await logOf(provider).read(c, undefined, 1)
    assert.deepEqual(await readBefore(provider, c, { before: head }), { gap: undefined, numbers: [] })
    await provider.publish(c, 1)
    assert.deepEqual(await readBefore(provider, c, { before: head }), { gap: undefined, numbers: [] })
  },

  async 'before the first event that is left there is a gap: trimmed' (open) {
    const provider = await open({ history: { size: 10 } })
    const c = freshLogName()
    const cursors = await fill(provider, c, 500)
    const { numbers: kept } = await readNumbers(provider, c, undefined, 1_000)
    const first = kept[0] as number
    assert.ok(first > 2)
    const numbers: number[] = []
    let page = await readBefore(provider, c, { before: cursors[500], limit: 7 })
    while (page.numbers.length > 0) {
      assert.equal(page.gap, undefined)
      numbers.unshift(...page.numbers)
      page = await readBefore(provider, c, { before: cursors[numbers[0] as number], limit: 7 })
    }
    assert.deepEqual(page, { gap: 'trimmed', numbers: [] })
    assert.deepEqual(numbers, range(first, 499))
    for (const to of [1, first - 1]) {
      assert.deepEqual(await readBefore(provider, c, { before: cursors[to] }), { gap: 'trimmed', numbers: [] })
    }
  },

  async 'before the position of events that have expired there is a gap: expired' (open) {
    const provider = await open({ history: { ttlMs: 40 } })
    const c = freshLogName()
    const cursors = await fill(provider, c, 3)
    while ((await readNumbers(provider, c, undefined, 10)).numbers.length > 0) { /* until they expire */ }
    for (const to of [1, 2, 3]) {
      assert.deepEqual(await readBefore(provider, c, { before: cursors[to] }), { gap: 'expired', numbers: [] })
    }
    const before = positionOf(await provider.publish(c, 4))
    const { gap, numbers } = await readBefore(provider, c, { before })
    assert.ok(gap === 'trimmed' || gap === 'expired', gap)
    assert.deepEqual(numbers, [])
  }
}
