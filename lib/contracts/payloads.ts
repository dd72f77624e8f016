import assert from 'node:assert/strict'
import { untilAllActive, untilDelivered, freshName, collect, type Bus } from './bus.ts'
import type { Cases } from './contract.ts'

/** Cases about refused payloads. `maxBytes` is the maximum size of a payload in bytes of JSON. */
export function payloads (maxBytes: number): Cases<Bus> {
  return {
    async 'a value that is not JSON is refused, and nothing is published' ({ provider, sides }) {
      const c = freshName()
      const got = collect(provider, c)
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
      await untilDelivered(sides)
      assert.deepEqual(got, [])
    },

    async [`a payload of ${maxBytes} bytes of UTF-8 is published, and a larger one is refused`] ({
      provider, sides
    }) {
      const c = freshName()
      const got = sides.map((side) => collect(side, c))
      await untilAllActive(sides)
      // The quotes of a string take two bytes, each é takes two, each € takes three.
      const filled = (char: string, bytes: number): string =>
        `${'x'.repeat((maxBytes - 2) % bytes)}${char.repeat(Math.floor((maxBytes - 2) / bytes))}`
      const fitting = [filled('x', 1), filled('é', 2), filled('€', 3)]
      for (const data of fitting) {
        await provider.publish(c, data)
        await assert.rejects(
          provider.publish(c, `${data}x`),
          { code: 'RT_PAYLOAD_TOO_LARGE', statusCode: 413, message: new RegExp(`${maxBytes + 1}`) }
        )
      }
      await assert.rejects(
        provider.publish(c, '\n'.repeat(maxBytes / 2), { ephemeral: true }),
        { code: 'RT_PAYLOAD_TOO_LARGE' }
      )
      await untilDelivered(sides)
      for (const data of got) assert.deepEqual(data, fitting)
    },

    async 'a refused publish whose promise is ignored causes no unhandledRejection' ({ provider, sides }) {
      for (const ephemeral of [false, true]) {
        provider.publish('', 1, { ephemeral })
        provider.publish('c', undefined, { ephemeral })
        provider.publish('c', 'x'.repeat(maxBytes), { ephemeral })
      }
      await untilDelivered(sides)
    }
  }
}
