import assert from 'node:assert/strict'
import { copyCursor, positionBefore, type Cursor } from '../pubsub/cursor.ts'
import type { Cases } from './contract.ts'
import { fill, freshLogName, logOf, positionOf, positionsOutside, readNumbers, range, type OpenLog } from './log.ts'

/** Cases about reading after a position, and the reasons why that may be impossible. */
export const reading: Cases<OpenLog> = {
  async 'a log is read after any of its positions, a page at a time' (open) {
    const provider = await open()
    const c = freshLogName()
    const cursors = await fill(provider, c, 25)
    for (const from of [0, 1, 12, 24, 25]) {
      assert.deepEqual(
        await readNumbers(provider, c, cursors[from], 1_000),
        { gap: undefined, numbers: range(from + 1, 25) }
      )
      assert.deepEqual(
        await readNumbers(provider, c, cursors[from], 5),
        { gap: undefined, numbers: range(from + 1, Math.min(25, from + 5)) }
      )
    }
  },

  async 'without a position the latest events are read, in their order' (open) {
    const provider = await open()
    const c = freshLogName()
    const cursors = await fill(provider, c, 25)
    for (const limit of [1, 10, 25, 1_000]) {
      assert.deepEqual(
        await readNumbers(provider, c, undefined, limit),
        { gap: undefined, numbers: range(Math.max(1, 26 - limit), 25) }
      )
    }
    assert.deepEqual((await logOf(provider).read(c, undefined, 1)).head, cursors[25])
  },

  async 'all events of a log are read, whatever the byte limit of a page' (open) {
    const provider = await open()
    const c = freshLogName()
    const [start] = await fill(provider, c, 25)
    for (const maxBytes of [1, 60, 500, 1_000_000]) {
      const numbers: unknown[] = []
      for (let at = start as Cursor; at.offset < 25;) {
        const { gap, entries } = await logOf(provider).read(c, at, 10, maxBytes)
        assert.equal(gap, undefined)
        assert.ok(entries.length > 0 && entries.length <= 10, `a page of ${entries.length}`)
        numbers.push(...entries.map(({ json }) => JSON.parse(json.toString())))
        at = copyCursor(entries.at(-1)?.position as Cursor)
      }
      assert.deepEqual(numbers, range(1, 25))
    }
  },

  async 'the start of the latest events is returned, even if they exceed a page' (open) {
    const provider = await open()
    const c = freshLogName()
    const cursors = await fill(provider, c, 25)
    for (const [limit, maxBytes] of [[10, 0], [10, 1], [10, 1_000_000], [25, 0], [1_000, 0], [1_000, 1]] as const) {
      const { head, entries, start } = await logOf(provider).read(c, undefined, limit, maxBytes)
      assert.deepEqual(head, cursors[25])
      const first = entries[0]?.position
      const begin = start ?? (first && positionBefore(first))
      assert.deepEqual(begin, cursors[Math.max(0, 25 - limit)], `${limit} in ${maxBytes} bytes`)
    }
    assert.equal((await logOf(provider).read(freshLogName(), undefined, 10, 0)).start, undefined, 'of an empty log')
  },

  async 'an empty log has a position, and the first event follows it' (open) {
    const provider = await open()
    const c = freshLogName()
    const log = logOf(provider)
    assert.deepEqual(await log.heads([c]), [undefined])
    const { head, gap, entries } = await log.read(c, undefined, 10)
    assert.deepEqual([gap, entries, head.offset, head.tag], [undefined, [], 0, 0])
    const again = await log.read(c, head, 10)
    assert.deepEqual([again.head, again.gap, again.entries], [head, undefined, []])
    const position = positionOf(await provider.publish(c, 1))
    assert.deepEqual([position?.epoch, position?.offset], [head.epoch, 1])
    assert.deepEqual(await readNumbers(provider, c, head, 10), { gap: undefined, numbers: [1] })
  },

  async 'the heads of many logs are read at once' (open) {
    const provider = await open()
    const [one, none, two] = [freshLogName(), freshLogName(), freshLogName()]
    const expected = [(await fill(provider, one, 3))[3], undefined, (await fill(provider, two, 1))[1]]
    assert.deepEqual(await logOf(provider).heads([one, none, two]), expected)
    assert.deepEqual(await logOf(provider).heads([]), [])
  },

  async 'a position from which no reader can continue is a gap with a reason' (open) {
    const provider = await open()
    const c = freshLogName()
    const cursors = await fill(provider, c, 5)
    const head = cursors[5] as Cursor
    for (const [reason, cursor] of positionsOutside(cursors)) {
      assert.deepEqual(await logOf(provider).read(c, cursor, 10), { head, gap: reason, entries: [] }, reason)
    }
    const { gap, head: { offset }, entries } = await logOf(provider).read(freshLogName(), head, 10)
    assert.deepEqual([gap, offset, entries], ['epoch', 0, []], 'also in an empty log')
  },

  async 'a position before the remaining events is a gap: trimmed' (open) {
    const size = 10
    const provider = await open({ history: { size } })
    const c = freshLogName()
    const cursors = await fill(provider, c, 500)
    const { entries } = await logOf(provider).read(c, undefined, 1_000)
    assert.ok(entries.length >= size && entries.length < 200, `${entries.length} are left`)
    const left = entries[0]?.position.offset as number
    assert.deepEqual(
      await readNumbers(provider, c, cursors[left - 1], 1_000),
      { gap: undefined, numbers: range(left, 500) }
    )
    for (const from of [0, 1, left - 2]) {
      assert.deepEqual(
        await readNumbers(provider, c, cursors[from], 1_000),
        { gap: 'trimmed', numbers: [] }
      )
    }
    assert.deepEqual(await readNumbers(provider, c, cursors[500], 10), { gap: undefined, numbers: [] })
  },

  async 'all events expire together after the last one, and later events continue the log' (open) {
    const provider = await open({ history: { ttlMs: 40 } })
    const c = freshLogName()
    const cursors = await fill(provider, c, 3)
    while ((await readNumbers(provider, c, undefined, 10)).numbers.length > 0) { /* until they expire */ }
    for (const from of [0, 1, 2]) {
      assert.deepEqual(
        await readNumbers(provider, c, cursors[from], 10),
        { gap: 'expired', numbers: [] }
      )
    }
    assert.deepEqual(await readNumbers(provider, c, cursors[3], 10), { gap: undefined, numbers: [] })
    const next = positionOf(await provider.publish(c, 4))
    assert.deepEqual([next?.epoch, next?.offset], [cursors[0]?.epoch, 4])
    const { gap, head } = await logOf(provider).read(c, cursors[2], 10)
    assert.ok(gap === 'trimmed' || gap === 'expired', gap)
    assert.equal(head.offset, 4)
  },

  async 'events do not expire while new ones are published' (open) {
    const provider = await open({ history: { ttlMs: 1_000 } })
    const c = freshLogName()
    const [start] = await fill(provider, c, 1)
    const until = performance.now() + 1_500
    let n = 1
    let last = performance.now()
    let longestPause = 0
    const next = (): number => {
      const now = performance.now()
      longestPause = Math.max(longestPause, now - last)
      return (last = now)
    }
    while (next() < until) await provider.publish(c, ++n)
    const { gap, numbers } = await readNumbers(provider, c, undefined, 10_000)
    next()
    // They do expire if a busy machine pauses the process for so long.
    if (longestPause >= 1_000) return
    assert.equal(gap, undefined)
    assert.deepEqual(numbers, range(numbers[0] ?? 1, n))
    assert.ok(numbers.length >= Math.min(1_000, n))
    if (n <= 1_000) assert.deepEqual((await readNumbers(provider, c, start, 10_000)).numbers, range(1, n))
  }
}
