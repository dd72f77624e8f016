import t, { type Test } from 'tap'
import vm from 'node:vm'
import { EventSource } from 'eventsource'
import { EventStream } from '../support/event-stream.ts'
import { Document, serveSnippet } from '../support/snippets.ts'

const access = await Document.read('docs/access.md')

const opens = async (t: Test, url: string, headers: Record<string, string> = {}): Promise<EventStream> => await EventStream.open(t, url, { headers })

t.test('by cookie, until the user leaves', async (t) => {
  const [server] = access.snippets('By cookie')
  const url = await serveSnippet(t, server)
  const path = `${url}/api/chats/general/events`
  t.equal((await fetch(path)).status, 403)
  t.equal((await fetch(`${url}/api/chats/other/events`, { headers: { cookie: 'session=f3a1c9' } })).status, 403)
  const stream = await opens(t, path, { cookie: 'session=f3a1c9' })
  t.match(await stream.next(), { event: 'ready' })
  t.same(await (await fetch(`${url}/api/chats/general/leave`, { method: 'POST', headers: { cookie: 'session=f3a1c9' } })).json(), { left: true })
  t.same(await stream.end(), [])
  t.equal((await fetch(path, { headers: { cookie: 'session=f3a1c9' } })).status, 403)
})

t.test('by bearer token', async (t) => {
  const [server] = access.snippets('By bearer token')
  const path = `${await serveSnippet(t, server)}/api/chats/general/events`
  const refused = await fetch(path)
  t.equal(refused.status, 401)
  t.match(await refused.json(), { message: 'Sign in first' })
  t.match(await (await opens(t, path, { authorization: 'Bearer a.good.token' })).next(), { event: 'ready' })
})

t.test('by ticket, once', async (t) => {
  const [server, browser = ''] = access.snippets('By ticket')
  const url = await serveSnippet(t, server)
  const authorization = 'Bearer a.good.token'
  t.equal((await fetch(`${url}/api/tickets`, { method: 'POST' })).status, 401)
  const { ticket } = await (await fetch(`${url}/api/tickets`, { method: 'POST', headers: { authorization } })).json() as { ticket: string }
  const path = `${url}/api/chats/general/events?ticket=${ticket}`
  t.match(await (await opens(t, path)).next(), { event: 'ready' })
  t.equal((await fetch(path)).status, 403)

  const urls: string[] = []
  const opened = new Promise<void>((resolve) => {
    class PageEventSource extends EventSource {
      constructor (path: string) {
        super(url + path)
        urls.push(path)
        t.teardown(() => this.close())
        if (urls.length === 1) this.addEventListener('ready', () => this.dispatchEvent(new Event('error')))
        else this.addEventListener('ready', () => resolve())
      }
    }
    vm.runInNewContext(`${browser}\nopen()`, {
      EventSource: PageEventSource,
      JSON,
      Math,
      URLSearchParams,
      token: 'a.good.token',
      show () {},
      setTimeout: (call: () => void) => setTimeout(call, 1),
      fetch: (path: string, init: RequestInit) => fetch(url + path, init)
    })
  })
  await opened
  t.equal(new Set(urls.map((path) => new URLSearchParams(path.split('?')[1]).get('ticket'))).size, 2)
  t.match(urls[1], /lastEventId=\w+-0-0/)
})
