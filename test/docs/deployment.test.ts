import t from 'tap'
import { EventStream } from '../support/event-stream.ts'
import { Document, serveSnippet } from '../support/snippets.ts'

const guide = await Document.read('docs/deployment.md')

t.test('the configurations that are shown are those that the tests run', async (t) => {
  t.same(guide.blocks('nginx'), [(await Document.read('docs/nginx.conf')).text])
  t.same(guide.blocks('haproxy'), [(await Document.read('docs/haproxy.cfg')).text])
})

t.test('with routeOptions, streams are exempt from a rate limit and carry a cookie', async (t) => {
  const [server] = guide.snippets('Other plugins')
  const url = await serveSnippet(t, server?.replace('max: 100', 'max: 1'))
  for (let n = 0; n < 2; n++) {
    const stream = await EventStream.open(t, `${url}/api/chats/general/events`)
    t.match(await stream.next(), { event: 'ready' })
    t.same(stream.response.headers.getSetCookie(), ['seen=yes; Path=/; HttpOnly; SameSite=Lax'])
  }
})
