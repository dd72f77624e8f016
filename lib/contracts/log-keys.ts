import assert from 'node:assert/strict'
import type { Cases } from './contract.ts'
import { freshLogName, collectMessages, logOf, readNumbers, range, type OpenLog } from './log.ts'

/** Cases about idempotency keys: an event is published once, however often its key is used. */
export const keys: Cases<OpenLog> = {
  async 'an event that is published again with its key is a duplicate, and is not delivered again' (open) {
    const provider = await open()
    const c = freshLogName()
    const { got, delivered } = await collectMessages(provider, c)
    const first = await provider.publish(c, 1, { idempotencyKey: 'key' })
    assert.deepEqual([first.duplicate, typeof first.id], [false, 'string'])
    const others = await Promise.all([1, 2].map((n) => provider.publish(c, n, { idempotencyKey: 'key' })))
    assert.deepEqual(others, [{ ...first, duplicate: true }, { ...first, duplicate: true }], 'whatever its data')
    await delivered()
    assert.deepEqual(got.map(({ data }) => data), [1])
    assert.deepEqual(await readNumbers(provider, c, undefined, 10), { gap: undefined, numbers: [1] })
  },

  async 'concurrent publishes with the same key publish one event' (open) {
    const provider = await open()
    const c = freshLogName()
    const receipts = await Promise.all(range(1, 20).map((n) => provider.publish(c, n, { idempotencyKey: 'key' })))
    assert.equal(new Set(receipts.map(({ id }) => id)).size, 1)
    assert.equal(receipts.filter(({ duplicate }) => !duplicate).length, 1)
    assert.deepEqual(await readNumbers(provider, c, undefined, 10), { gap: undefined, numbers: [1] })
  },

  async 'a key belongs to one channel, and may have any 200 characters' (open) {
    const provider = await open()
    const [one, two] = [freshLogName(), freshLogName()]
    for (const idempotencyKey of [
      'key', 'x'.repeat(200), '😀'.repeat(100), '{}', '*', '\0', '\n', '__proto__', ':m'
    ]) {
      for (const channel of [one, two]) {
        assert.equal(
          (await provider.publish(channel, 1, { idempotencyKey })).duplicate, false
        )
      }
      for (const channel of [one, two]) {
        assert.equal(
          (await provider.publish(channel, 1, { idempotencyKey })).duplicate, true
        )
      }
    }
  },

  async 'a key is forgotten after idempotencyTtlMs' (open) {
    const provider = await open({ idempotencyTtlMs: 200 })
    const c = freshLogName()
    // In parallel: the key could expire between two publishes that wait for each other.
    const twice = (idempotencyKey: string): Promise<boolean[]> => Promise.all(
      [1, 2].map(async () => (await provider.publish(c, 1, { idempotencyKey })).duplicate)
    )
    for (const key of ['key', 'other']) assert.deepEqual(await twice(key), [false, true])
    let repeats = [true, true]
    while (repeats[0]) repeats = await twice('key')
    assert.deepEqual(repeats, [false, true], 'and remembered again')
  },

  async 'an invalid key is refused, and nothing is published' (open) {
    const provider = await open()
    const c = freshLogName()
    for (const wrong of ['', 1, null, {}, ['key'], 'x'.repeat(201), '\ud800', 'a\udc00b']) {
      const idempotencyKey = wrong as string // Callers without type checks can pass it.
      await assert.rejects(
        provider.publish(c, 1, { idempotencyKey }),
        { code: 'RT_IDEMPOTENCY_KEY_INVALID', statusCode: 400 }
      )
      await assert.rejects(
        provider.publish(c, 1, { idempotencyKey, ephemeral: true }),
        { code: 'RT_IDEMPOTENCY_KEY_INVALID' }
      )
    }
    assert.deepEqual(await logOf(provider).heads([c]), [undefined])
  }
}
