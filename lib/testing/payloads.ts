import assert from 'node:assert/strict'
import { allSettled, drained, fresh, listen, type Bus } from './bus.ts'
import type { Cases } from './contract.ts'

/** Cases about refused payloads. `most` is the maximum size of a payload in bytes of JSON. */
export function payloads (most: number): Cases<Bus> {
  return {
    async 'what JSON can not carry is refused, and nothing is published' ({ provider, sides }) {
      const c = fresh()
      const got = listen(provider, c)
      const circle: Record<string, unknown> = {}
      circle.circle = circle
      const secret = { toJSON () { throw new Error('hunter2') } }
      for (const data of [undefined, () => {}, Symbol('symbol'), 1n, { deep: [1n] }, circle, secret]) {
        for (const ephemeral of [false, true]) {
          await assert.rejects(
            provider.publish(c, data, { ephemeral }),
            { code: 'RT_PAYLOAD_INVALID', statusCode: 400, message: /^(?!.*hunter2)/ }
          )
        }
      }
      await drained(sides)
      assert.deepEqual(got, [])
    },

    async [`a payload of ${most} bytes of UTF-8 goes through, one of more is refused and not published`] ({
      provider, sides
    }) {
      const c = fresh()
      const got = sides.map((side) => listen(side, c))
      await allSettled(sides)
      // The quotes of a string take two bytes, each é takes two, each € takes three.
      const filled = (char: string, bytes: number): string =>
        `${'x'.repeat((most - 2) % bytes)}${char.repeat(Math.floor((most - 2) / bytes))}`
      const fitting = [filled('x', 1), filled('é', 2), filled('€', 3)]
      for (const data of fitting) {
        await provider.publish(c, data)
        await assert.rejects(
          provider.publish(c, `${data}x`),
          { code: 'RT_PAYLOAD_TOO_LARGE', statusCode: 413, message: new RegExp(`${most + 1}`) }
        )
      }
      await assert.rejects(
        provider.publish(c, '\n'.repeat(most / 2), { ephemeral: true }),
        { code: 'RT_PAYLOAD_TOO_LARGE' }
      )
      await drained(sides)
      for (const data of got) assert.deepEqual(data, fitting)
    },

    async 'a refused publish that nobody looks at causes no unhandledRejection' ({ provider, sides }) {
      for (const ephemeral of [false, true]) {
        provider.publish('', 1, { ephemeral })
        provider.publish('c', undefined, { ephemeral })
        provider.publish('c', 'x'.repeat(most), { ephemeral })
      }
      await drained(sides)
    }
  }
}
