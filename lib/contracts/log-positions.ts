import assert from 'node:assert/strict'
import { copyCursor, formatCursor } from '../pubsub/cursor.ts'
import type { Cases } from './contract.ts'
import { fill, freshLogName, collectMessages, logOf, positionOf, readNumbers, range, type OpenLog } from './log.ts'
import type { Envelope } from '../pubsub/event-log.ts'

const ODD_CHANNELS = [
  '*', '?', '[a]', '{', '}', '{a}', '}{', '%', '%2A', '\0', '\n', ' ', 'é', '😀',
  '__proto__', ':m', ':s', 'a:i:b', 'a', 'x'.repeat(4096)
]

/** Cases about the positions of events, and about events without a position. */
export const positions: Cases<OpenLog> = {
  async 'each event has a position: the epoch, the next offset, and a tag that the next event names' (open) {
    const provider = await open()
    const c = freshLogName()
    const { got, delivered } = await collectMessages(provider, c)
    const followed: Envelope[] = []
    provider.follow(c, { live () {}, lost () {}, receive (envelope) { followed.push(envelope) } })
    const cursors = await fill(provider, c, 100)
    assert.deepEqual([cursors[0]?.offset, cursors[0]?.tag], [0, 0])
    assert.deepEqual(cursors.map(({ offset }) => offset), range(0, 100))
    assert.equal(new Set(cursors.map(({ epoch }) => epoch)).size, 1)
    assert.equal(new Set(cursors.map(({ tag }) => tag)).size, 101, 'no tag is used twice')
    const { head, gap, entries } = await logOf(provider).read(c, cursors[0], 1_000)
    assert.equal(gap, undefined)
    assert.deepEqual(head, cursors[100])
    assert.deepEqual(entries.map(({ position }) => copyCursor(position)), cursors.slice(1))
    assert.deepEqual(entries.map(({ position }) => position.previousTag), cursors.slice(0, -1).map(({ tag }) => tag))
    assert.ok(entries.every(({ position }) => !position.isMarker))
    await delivered()
    assert.deepEqual(got.map(({ id }) => id), cursors.slice(1).map(formatCursor), 'handlers get the same ids')
    const durable = followed.filter(({ position }) => position !== undefined)
    assert.deepEqual(
      durable.map(({ position }) => position),
      entries.map(({ position }) => position),
      'listeners get the same positions'
    )
  },

  async 'an event is read as it was published' (open) {
    const provider = await open()
    const c = freshLogName()
    const before = Date.now()
    await provider.publish(c, { type: 'typing', text: 'é€😀\n\0\u2028' })
    const { entries: [entry] } = await logOf(provider).read(c, undefined, 1)
    assert.deepEqual([entry?.event, entry?.from], ['typing', provider.instanceId])
    assert.deepEqual(JSON.parse(String(entry?.json)), { type: 'typing', text: 'é€😀\n\0\u2028' })
    assert.ok(entry !== undefined && before <= entry.timestamp && entry.timestamp <= Date.now())
  },

  async 'channels have logs of their own' (open) {
    const provider = await open()
    for (const channel of ODD_CHANNELS) assert.equal(positionOf(await provider.publish(channel, channel))?.offset, 1)
    for (const channel of ODD_CHANNELS) {
      const { head, entries } = await logOf(provider).read(channel, undefined, 10)
      assert.equal(head.offset, 1)
      assert.deepEqual(entries.map(({ json }) => JSON.parse(json.toString())), [channel])
    }
  },

  async 'an ephemeral event has no position' (open) {
    const provider = await open()
    const c = freshLogName()
    const { got, delivered } = await collectMessages(provider, c)
    // Opens the connection first: an ephemeral event does not wait for it.
    await provider.publish(freshLogName(), 1)
    for (let n = 0; n < 2; n++) {
      assert.deepEqual(
        await provider.publish(c, 'typing', { ephemeral: true, idempotencyKey: 'key' }),
        { duplicate: false }
      )
    }
    await delivered()
    assert.deepEqual(got.map(({ id, data }) => [id, data]), [[undefined, 'typing'], [undefined, 'typing']])
    assert.deepEqual(await readNumbers(provider, c, undefined, 10), { gap: undefined, numbers: [] })
  },

  async 'an event that is too large gets no position and does not use up its key' (open) {
    const provider = await open({ maxPayloadBytes: 10 })
    const c = freshLogName()
    await assert.rejects(
      provider.publish(c, 'x'.repeat(9), { idempotencyKey: 'key' }),
      { code: 'RT_PAYLOAD_TOO_LARGE' }
    )
    const receipt = await provider.publish(c, 'x'.repeat(8), { idempotencyKey: 'key' })
    assert.equal(receipt.duplicate, false)
    assert.equal(positionOf(receipt)?.offset, 1)
  },

  async 'with history off there is no log and no id, and a key has no effect' (open) {
    const provider = await open({ history: false })
    const c = freshLogName()
    const { got, delivered } = await collectMessages(provider, c)
    assert.equal(provider.eventLog, undefined)
    for (let n = 0; n < 2; n++) {
      assert.deepEqual(
        await provider.publish(c, n, { idempotencyKey: 'key' }),
        { duplicate: false }
      )
    }
    await assert.rejects(provider.publish(c, 1, { idempotencyKey: '' }), { code: 'RT_IDEMPOTENCY_KEY_INVALID' })
    await delivered()
    assert.deepEqual(got.map(({ id, data }) => [id, data]), [[undefined, 0], [undefined, 1]])
  }
}
