import t, { type Test } from 'tap'
import vm from 'node:vm'
import { EventSource } from 'eventsource'
import { createRealtimeClient, type RealtimeChat } from '../../lib/client/index.ts'
import { EventStream, type StreamEvent } from '../support/event-stream.ts'
import { Document, serveSnippet } from '../support/snippets.ts'

const guide = await Document.read('docs/migrating.md')

/** The first message that a browser gets of what is posted once its stream is open. */
async function posted (t: Test, url: string, expected = 202): Promise<unknown> {
  const stream = await EventStream.open(t, `${url}/api/chats/general/events`)
  const { status } = await fetch(`${url}/api/chats/general/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"text":"Hello"}'
  })
  t.equal(status, expected)
  let event: StreamEvent
  do event = await stream.next(); while (event.event !== 'message')
  return event.data
}

t.test('from an EventEmitter: browsers get the same', async (t) => {
  const [before, after] = guide.snippets('From an EventEmitter')
  const expected = { type: 'message', chatId: 'general', message: { text: 'Hello' } }
  for (const code of [before, after]) t.same(await posted(t, await serveSnippet(t, code)), expected)
})

t.test('from @fastify/sse: both work side by side', async (t) => {
  const [both] = guide.snippets('From @fastify/sse')
  const url = await serveSnippet(t, both)
  for (const path of ['/before', '/after']) {
    const stream = await EventStream.open(t, url + path, { headers: { accept: 'text/event-stream' } })
    t.same((await stream.end()).map(({ event, data }) => [event, data]), [['greeting', 'Hello']], path)
  }
})

t.test('from socket.io: a message goes by request and comes by stream', async (t) => {
  const [server, browser] = guide.snippets('From socket.io')
  const url = await serveSnippet(t, server)
  const shown = await new Promise((resolve) => {
    class PageEventSource extends EventSource {
      constructor (path: string) {
        super(url + path)
        t.teardown(() => this.close())
      }
    }
    const opened = new PageEventSource('/api/chats/general/events')
    opened.addEventListener('ready', () => vm.runInNewContext(`(async () => { ${browser} })()`, {
      EventSource: PageEventSource,
      JSON,
      show: resolve,
      fetch: (path: string, init: RequestInit) => fetch(url + path, init)
    }))
  })
  t.same(JSON.parse(JSON.stringify(shown)), { text: 'Hello' })
})

t.test('from @fastify/websocket: a message goes by request and comes by stream', async (t) => {
  const [server] = guide.snippets('From @fastify/websocket')
  t.match(await posted(t, await serveSnippet(t, server), 200), { message: { text: 'Hello' } })
})

t.test('from Pusher: the handler of the client gets what the server publishes', async (t) => {
  const [server, browser] = guide.snippets('From Pusher')
  const url = await serveSnippet(t, server)
  const client = createRealtimeClient({ url: `${url}/api` })
  t.teardown(() => client.close())
  const opened: RealtimeChat[] = []
  const shown = new Promise((resolve) => {
    const page = { chat: (id: string) => { opened.push(client.chat(id)); return opened[0] } }
    vm.runInNewContext(browser as string, { createRealtimeClient: () => page, show: resolve })
  })
  await opened[0]?.ready
  await fetch(`${url}/api/chats/general/messages`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"text":"Hello"}'
  })
  t.same(await shown, { text: 'Hello' })
})
