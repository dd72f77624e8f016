import t from 'tap'
import { foldBotMessage, foldPresence, foldTyping } from '../../../lib/client/index.ts'

t.test('pieces of a text are joined, and the end may repeat all of it or nothing', async (t) => {
  const piece = { id: '1', status: 'streaming' as const }
  const first = foldBotMessage(undefined, { ...piece, at: 0, text: 'Hel', meta: { bot: 'b' } })
  t.strictSame(first, { id: '1', status: 'streaming', meta: { bot: 'b' }, text: 'Hel' })
  const second = foldBotMessage(first, { ...piece, at: 3, text: 'lo' })
  t.strictSame(second, { id: '1', status: 'streaming', meta: { bot: 'b' }, text: 'Hello' })
  t.equal(foldBotMessage(second, { ...piece, at: 2, text: 'y' }).text, 'Hey', 'a piece may replace what was sent')
  const end = { id: '1', status: 'finished' as const, extra: { tokens: 2 } }
  for (const [at, text] of [[0, 'Hello'], [5, '']] as const) {
    t.strictSame(foldBotMessage(second, { ...end, at, text }), { ...end, meta: { bot: 'b' }, text: 'Hello' })
  }
  t.strictSame(foldBotMessage(second, { id: '1', status: 'failed', error: 'Sorry', at: 5, text: '' }), {
    id: '1', status: 'failed', meta: { bot: 'b' }, error: 'Sorry', text: 'Hello'
  })
  t.equal(first.text, 'Hel', 'no message is changed')
})

t.test('pieces of chunks are joined', async (t) => {
  const piece = { id: '1', status: 'streaming' as const }
  const first = foldBotMessage(undefined, { ...piece, at: 0, chunks: [{ n: 1 }, { n: 2 }] })
  t.strictSame(first, { ...piece, chunks: [{ n: 1 }, { n: 2 }] })
  t.strictSame(foldBotMessage(first, { ...piece, at: 1, chunks: [{ n: 3 }] }).chunks, [{ n: 1 }, { n: 3 }])
})

t.test('a whole list of users replaces the previous one, and changes apply to it', async (t) => {
  t.strictSame(foldPresence(undefined, { joined: ['b', 'a'] }), ['a', 'b'])
  t.strictSame(foldPresence(['a', 'b'], { users: ['d', 'c'] }), ['c', 'd'])
  const users = ['a', 'c']
  t.strictSame(foldPresence(users, { joined: ['b', 'a'], left: ['c', 'x'] }), ['a', 'b'])
  t.strictSame(users, ['a', 'c'])
})

t.test('a typing indicator expires, is renewed, or ends', async (t) => {
  const [ann, bob] = [{ user: 'ann', expiresInMs: 100 }, { user: 'bob', expiresInMs: 50 }]
  const both = foldTyping(foldTyping(undefined, ann, 1_000), bob, 1_010)
  t.strictSame(both, [{ user: 'ann', until: 1_100 }, { user: 'bob', until: 1_060 }])
  t.strictSame(foldTyping(both, ann, 1_050), [{ user: 'ann', until: 1_150 }, { user: 'bob', until: 1_060 }])
  t.strictSame(foldTyping(both, undefined, 1_060), [{ user: 'ann', until: 1_100 }])
  t.strictSame(foldTyping(both, { user: 'ann', expiresInMs: 0 }, 1_020), [{ user: 'bob', until: 1_060 }])
  const now = Date.now()
  t.ok((foldTyping([], ann)[0]?.until ?? 0) >= now + 100, 'now is the default')
})
