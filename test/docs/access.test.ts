import t, { type Test } from 'tap'
import vm from 'node:vm'
import { EventSource } from 'eventsource'
import { EventStream } from '../support/event-stream.ts'
import { Document, serveSnippet } from '../support/snippets.ts'

const access = await Document.read('docs/access.md')

const opens = async (t: Test, url: string, headers: Record<string, string> = {}): Promise<EventStream> =>
  await EventStream.open(t, url, { headers })

t.test('by cookie, until the user leaves', async (t) => {
  const [server] = access.snippets('By cookie')
  const url = await serveSnippet(t, server)
  const path = `${url}/api/chats/general/events`
  t.equal((await fetch(path)).status, 403)
  t.equal((await fetch(`${url}/api/chats/other/events`, { headers: { cookie: 'session=f3a1c9' } })).status, 403)
  const stream = await opens(t, path, { cookie: 'session=f3a1c9' })
  t.match(await stream.next(), { event: 'ready' })
  t.same(
    await (
      await fetch(`${url}/api/chats/general/leave`, { method: 'POST', headers: { cookie: 'session=f3a1c9' } })
    ).json(),
    { left: true }
  )
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

t.test('by ticket, once, for all chats of the request', async (t) => {
  const [server, browser = ''] = access.snippets('By ticket')
  const url = await serveSnippet(t, server)
  const authorization = 'Bearer a.good.token'
  t.equal((await fetch(`${url}/api/tickets`, { method: 'POST' })).status, 401)
  const { ticket } = (await (
    await fetch(`${url}/api/tickets`, { method: 'POST', headers: { authorization } })
  ).json()) as { ticket: string }
  const path = `${url}/api/chats/events?chat=general&chat=random&ticket=${ticket}`
  const stream = await opens(t, path)
  t.match(
    (await stream.take(2)).map(({ event, data }) => [event, (data as { chatId: string }).chatId]),
    [
      ['ready', 'general'],
      ['ready', 'random']
    ]
  )
  t.equal((await fetch(path)).status, 403)

  // An outage before the first ticket, two answers of a proxy, a stream that breaks and an outage after that.
  const failures: (() => Promise<Response>)[] = [
    () => Promise.reject(new TypeError('fetch failed')), () => Promise.reject(new TypeError('fetch failed')),
    async () => new Response('<html>', { status: 502 }), async () => new Response('<html>')
  ]
  const again = [...failures]
  const urls: string[] = []
  const waits: number[] = []
  const opened = new Promise<void>((resolve) => {
    class PageEventSource extends EventSource {
      constructor (path: string) {
        super(url + path)
        urls.push(path)
        t.teardown(() => this.close())
        let readies = 0
        this.addEventListener('ready', () => {
          if (++readies < 2) return
          if (urls.length > 1) return resolve()
          failures.push(...again)
          this.dispatchEvent(new Event('error'))
        })
      }
    }
    vm.runInNewContext(`${browser}\nopen()`, {
      EventSource: PageEventSource,
      JSON,
      Math,
      URLSearchParams,
      token: 'a.good.token',
      show () {},
      signIn: () => t.fail('the token is good'),
      setTimeout: (call: () => void, ms: number) => { waits.push(ms); setTimeout(call, 1) },
      fetch: (path: string, init: RequestInit) => failures.shift()?.() ?? fetch(url + path, init)
    })
  })
  await opened
  const [first, second] = urls.map((path) => new URLSearchParams(path.split('?')[1]))
  t.not(first?.get('ticket'), second?.get('ticket'))
  t.match(second?.get('lastEventId'), /^[\w~]+0\.[\w~]+0$/)
  t.equal(waits.length, 9)
  t.ok((waits[3] as number) > (waits[0] as number), 'it waits longer each time')
  t.ok((waits[4] as number) <= 1_000, 'and not for long after a stream that opened')
})

t.test('without a good token the ticket snippet asks to sign in, and opens nothing', async (t) => {
  const [, browser = ''] = access.snippets('By ticket')
  await new Promise<void>((resolve) => {
    vm.runInNewContext(`${browser}\nopen()`, {
      token: 'a.bad.token',
      signIn: resolve,
      fetch: async () => new Response('{}', { status: 401 }),
      setTimeout: () => t.fail('there is nothing to try again')
    })
  })
})
