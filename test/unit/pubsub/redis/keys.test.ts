import t from 'tap'
import { encodeKey, RedisKeys } from '../../../../lib/pubsub/redis/keys.ts'

const LONG = [`chat:${'x'.repeat(60)}`, `chat:${'😀'.repeat(250)}`, `chat:${'}{#*'.repeat(50)}`]

t.test('the keys of a chat are short and unique, however long its id is', async (t) => {
  const keys = new RedisKeys({ keyPrefix: 'rt:' })
  const metas = LONG.map((channel) => keys.of(channel).meta)
  for (const meta of metas) t.match(meta, /^rt:\{#[\w-]{43}\}:m$/)
  t.equal(new Set(metas).size, LONG.length)
  t.equal(keys.of(`chat:${'x'.repeat(59)}`).meta, `rt:{chat:${'x'.repeat(59)}}:m`)
  t.notMatch(keys.of('#'.repeat(10)).meta, '{#', 'no id looks like a hash')
})

t.test('the channel of a long id contains the id, and with `sharded` it is in the slot of its keys', async (t) => {
  for (const sharded of [false, true]) {
    const keys = new RedisKeys({ keyPrefix: 'rt:', clientPrefix: 'a:', sharded })
    for (const channel of [...LONG, 'chat:1', '#']) {
      const name = keys.channel(channel)
      t.equal(keys.parse(name), channel)
      t.equal(keys.of(channel).channel, name)
      if (sharded) t.ok(keys.of(channel).meta.startsWith(/\{.*?\}/.exec(name)?.[0] as string, 3), name)
    }
  }
})

t.test('a channel of another namespace is not parsed', async (t) => {
  const keys = new RedisKeys({ keyPrefix: 'rt:', clientPrefix: 'a:' })
  for (const other of [{ keyPrefix: 'rt:!' }, { keyPrefix: 'r' }, { keyPrefix: 'rt:', database: 2 }]) {
    t.equal(keys.parse(new RedisKeys({ clientPrefix: 'a:', ...other }).channel('chat:1')), undefined)
  }
  t.equal(keys.parse('a:rt:'), undefined)
})

t.test('an idempotency key takes few bytes in Redis and is unique, however long it is', async (t) => {
  const keys = ['x'.repeat(65), 'x'.repeat(200), '😀'.repeat(100)]
  const encoded = keys.map(encodeKey)
  for (const key of encoded) t.match(key, /^#[\w-]{43}$/)
  t.equal(new Set(encoded).size, keys.length)
  t.equal(encodeKey('order:1.2_3-4'), 'order:1.2_3-4')
  for (const hash of encoded) t.not(encodeKey(hash), hash, 'a key that an app chose to look like a hash')
})
