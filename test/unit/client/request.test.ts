import t from 'tap'
import { createRealtimeClient } from '../../../lib/client/index.ts'

t.test('a path that every URL parser would change into another one is not requested', async (t) => {
  const requested: string[] = []
  const client = createRealtimeClient({
    url: 'http://127.0.0.1/api',
    fetch: async (input) => {
      requested.push(new URL(String(input)).pathname)
      return new Response('found')
    }
  })
  t.teardown(() => client.close())
  const { signal } = new AbortController()
  const isOk = async (chatId: string, path: string): Promise<boolean> =>
    (await client.chat(chatId).request(path, signal)).ok
  for (const chatId of ['.', '..']) t.equal(await isOk(chatId, '/stream'), false, chatId)
  for (const path of ['/../users', '/bot-messages/..', '/bot-messages/.?at=1']) {
    t.equal(await isOk('c', path), false, path)
  }
  t.equal(await isOk('c', '/bot-messages/...?at=1'), true)
  t.same(requested.filter((path) => !path.endsWith('/events')), ['/api/chats/c/bot-messages/...'])
})
