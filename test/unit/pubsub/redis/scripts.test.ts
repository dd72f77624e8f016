import t from 'tap'
import type { Command } from 'ioredis'
import type { RedisClient } from '../../../../lib/pubsub/redis/client.ts'
import { Scripts } from '../../../../lib/pubsub/redis/scripts.ts'

const OPTIONS = { size: 10, ttlMs: 1_000, idempotencyTtlMs: 1_000, publishTimeoutMs: 1_000, sharded: false }

/** As many as `read` takes, and enough for `append`. */
const KEYS = ['meta', 'events', 'fields']

/** A client that records the names of the commands. */
function record (): { client: RedisClient, sent: string[] } {
  const sent: string[] = []
  const sendCommand = async ({ name }: Command): Promise<void> => { sent.push(name) }
  // Scripts use no other part of a client.
  return { client: { options: {}, sendCommand } as unknown as RedisClient, sent }
}

t.test('the source of a script is sent once, and again after a reconnect', async (t) => {
  const cached = new Set<never>()
  const { append, read } = new Scripts({ ...OPTIONS, cached })
  const { client, sent } = record()
  for (const script of [append, append, read, append]) await script.call().send(client, KEYS, [])
  t.same(sent.splice(0), ['eval', 'evalsha', 'eval', 'evalsha'])
  cached.clear()
  for (const script of [append, append]) await script.call().send(client, KEYS, [])
  t.same(sent, ['eval', 'evalsha'])
})

t.test('a call whose script is lost sends the source, also if other calls have sent it to another node', async (t) => {
  const { append } = new Scripts({ ...OPTIONS, cached: new Set() })
  const { client, sent } = record()
  const [first, second, third] = [append.call(), append.call(), append.call()]
  for (const call of [first, second]) await call.send(client, KEYS, [])
  t.equal(second.isForgotten(new Error('EARLY an event before this one is missing')), false)
  t.equal(second.isWhole, false)
  t.equal(second.isForgotten(new Error('NOSCRIPT No matching script.')), true)
  for (const call of [third, second]) await call.send(client, KEYS, [])
  t.same(sent, ['eval', 'evalsha', 'eval', 'eval'])
})

t.test('a call with another number of keys than the header of its script lists is not sent', async (t) => {
  const { read, mark, append, finalize } = new Scripts({ ...OPTIONS, cached: new Set() })
  const { client, sent } = record()
  const send = (script: typeof read, count: number): unknown => script.call().send(client, Array(count).fill('k'), [])
  for (const [script, count] of [[read, 2], [mark, 1], [mark, 3], [append, 0], [finalize, 5]] as const) {
    t.throws(() => send(script, count), { message: `${script.name}.lua does not take ${count} keys` })
  }
  t.same(sent, [])
  for (const [script, count] of [[read, 6], [mark, 2], [append, 9], [finalize, 8]] as const) await send(script, count)
  t.equal(sent.length, 4)
})
