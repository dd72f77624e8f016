import t, { type Test } from 'tap'
import { transform } from 'esbuild'
import { EventStream } from '../support/event-stream.ts'
import { freePort } from '../support/free-port.ts'
import { Document, serveSnippet } from '../support/snippets.ts'

const guide = await Document.read('docs/recipes.md')
const MESSAGE = { text: 'Hello' }

async function post (url: string, body: object = MESSAGE, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(url, {
    method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers }
  })
}

/** Opens the stream of the chat `general`, calls `publish`, and checks that the message arrives. */
async function arrives (t: Test, url: string, publish: () => Promise<unknown>, headers?: object): Promise<void> {
  const stream = await EventStream.open(t, `${url}/api/chats/general/events`, { headers: { ...headers } })
  t.match(await stream.next(), { event: 'ready' })
  await publish()
  t.match(await stream.next(), { event: 'message', data: { message: MESSAGE } })
}

t.test('a channel for each user, and one for everyone, on one stream', async (t) => {
  const url = await serveSnippet(t, guide.snippets('A channel for each user')[0])
  const headers = { 'x-user': '42' }
  const path = `${url}/api/chats/events?chat=everyone&chat=user:42`
  const stream = await EventStream.open(t, path, { headers })
  t.match(await stream.take(2), [{ event: 'ready' }, { event: 'ready' }])
  await post(`${url}/orders/43`)
  await post(`${url}/orders/42`)
  t.match(await stream.next(), { data: { chatId: 'user:42', message: MESSAGE } })
  await post(`${url}/announcements`)
  t.match(await stream.next(), { data: { chatId: 'everyone', message: MESSAGE } })
  t.equal((await fetch(`${url}/api/chats/user:43/events`, { headers })).status, 403)
  t.equal((await fetch(`${url}/api/chats/everyone/events`)).status, 403)
})

t.test('rate limits for each user', async (t) => {
  const url = await serveSnippet(t, guide.snippets('Rate limits for each user')[0])
  await arrives(t, url, () => post(`${url}/messages`, MESSAGE, { 'x-user': 'eve' }))
  const status = async (user: string): Promise<number> =>
    (await post(`${url}/messages`, MESSAGE, { 'x-user': user })).status
  t.ok((await Promise.all(Array.from({ length: 20 }, () => status('ann')))).includes(429))
  t.equal(await status('bob'), 200)
})

t.test('JWT', async (t) => {
  const url = await serveSnippet(t, guide.snippets('JWT')[0])
  t.equal((await fetch(`${url}/api/chats/general/events`)).status, 401)
  const { token } = await (await post(`${url}/login`)).json() as { token: string }
  const stream = await EventStream.open(t, `${url}/api/chats/general/events`, {
    headers: { authorization: `Bearer ${token}` }
  })
  t.match(await stream.next(), { event: 'ready' })
})

t.test('sessions', async (t) => {
  const url = await serveSnippet(t, guide.snippets('Sessions')[0])
  t.equal((await fetch(`${url}/api/chats/general/events`)).status, 403)
  const { headers } = await post(`${url}/login`)
  const [cookie = ''] = headers.getSetCookie()
  const stream = await EventStream.open(t, `${url}/api/chats/general/events`, { headers: { cookie } })
  t.match(await stream.next(), { event: 'ready' })
})

t.test('fastify-cli and autoload', async (t) => {
  const [app, plugin, routes] = guide.snippets('fastify-cli and autoload')
  // What its command `fastify start` calls.
  const start = `import cli from 'fastify-cli/start.js'
    cli.start(['-p', process.env.PORT, import.meta.dirname + '/app.js'])`
  const files = { 'app.js': app, 'plugins/realtime.js': plugin, 'routes/messages/index.js': routes }
  const url = await serveSnippet(t, start, { files })
  await arrives(t, url, () => post(`${url}/messages`))
})

t.test('NestJS', async (t) => {
  const { code } = await transform(guide.snippets('NestJS')[0] ?? '', {
    loader: 'ts', tsconfigRaw: { compilerOptions: { experimentalDecorators: true } }
  })
  const url = await serveSnippet(t, code)
  await arrives(t, url, () => post(`${url}/api/chats/general/messages`))
})

t.test('CommonJS', async (t) => {
  const [code] = guide.snippets('CommonJS')
  const url = await serveSnippet(t, "import './app.cjs'", { files: { 'app.cjs': code } })
  await arrives(t, url, () => post(`${url}/messages`))
})

t.test('several apps in one process', async (t) => {
  const port = await freePort()
  const env = { ADMIN_PORT: String(port) }
  const url = await serveSnippet(t, guide.snippets('Several apps in one process')[0], { env })
  const admin = `http://127.0.0.1:${port}`
  await arrives(t, url, () => post(`${admin}/messages`))
  t.equal((await fetch(`${admin}/api/chats/general/events`)).status, 403)
})
