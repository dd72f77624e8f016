import t from 'tap'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { EventStream } from '../../support/event-stream.ts'
import { CHAT, get, portOf, whenDraining, slowRoute, start, client, connect, listen } from './closing-app.ts'

/** A plugin whose `preClose` waits until it is opened. */
function slowPreClose (app: FastifyInstance): { begun: Promise<void>, open: () => void } {
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  const begun = new Promise<void>((resolve) => {
    app.addHook('preClose', async () => {
      resolve()
      await gate
    })
  })
  return { begun, open }
}

t.test('an upgrade request without a handler for it gets an ordinary response', async (t) => {
  const app = await start(t)
  app.get('/', async () => 'plain')
  const onUpgrade = (): void => {}
  app.server.on('upgrade', onUpgrade)
  app.server.off('upgrade', onUpgrade)
  await listen(app)
  const { socket, received } = connect(t, app)
  socket.write(get('/', 'Connection: Upgrade', 'Upgrade: h2c'))
  t.match(await received('plain'), /^HTTP\/1\.1 200/)
})

t.test('a request with Expect: 100-continue gets its response while the app closes', async (t) => {
  const app = await start(t)
  let answer = (): void => {}
  const asked = new Promise<void>((resolve) => {
    app.server.on('checkContinue', (_request: http.IncomingMessage, response: http.ServerResponse) => {
      answer = () => response.end('answered')
      resolve()
    })
  })
  const draining = whenDraining(app)
  await listen(app)
  const { socket, received, closed } = connect(t, app)
  socket.write('POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n')
  await asked
  const closing = app.close()
  await draining
  answer()
  t.match(await received('answered'), /connection: close/i)
  await Promise.all([closed, closing])
})

t.test('a request that another server hands over gets its response, and its connection stays', async (t) => {
  const app = await start(t)
  const { begun, open } = slowRoute(app)
  await listen(app)
  const other = http.createServer((request, response) => {
    return app.server.emit('request', request, response)
  }).listen(0, '127.0.0.1')
  t.teardown(() => other.close())
  await once(other, 'listening')
  const { socket, received } = client(t, net.connect((other.address() as net.AddressInfo).port, '127.0.0.1'))
  socket.write(get('/slow'))
  await begun
  await app.close()
  open()
  t.match(await received('slow'), /connection: keep-alive/i)
})

t.test('no stream request gets a 503 during the slow preClose of another plugin', async (t) => {
  let slow = { begun: Promise.resolve(), open: (): void => {} }
  const app = await start(t, {}, (app) => { slow = slowPreClose(app) })
  const { begun, open } = slowRoute(app)
  await listen(app)
  const [streaming, answered, sent, asking, partial] = Array.from({ length: 5 }, () => connect(t, app)) as [
    ReturnType<typeof connect>,
    ReturnType<typeof connect>,
    ReturnType<typeof connect>,
    ReturnType<typeof connect>,
    ReturnType<typeof connect>
  ]
  streaming.socket.write(get(CHAT))
  answered.socket.write(get('/api/health/pubsub'))
  asking.socket.write(get('/slow'))
  await Promise.all([streaming.received('event: ready'), answered.received('ok'), begun])
  // Its second request is on the way.
  partial.socket.write(get('/api/health/pubsub'))
  await partial.received('ok')
  partial.socket.write(`GET ${CHAT} HTTP/1.1\r\n`)
  sent.socket.write(get(CHAT))
  await sent.received('event: ready')
  const port = portOf(app)

  const closing = app.close()
  await slow.begun
  await Promise.all([answered.closed, partial.closed])
  const late = client(t, net.connect(port, '127.0.0.1'))
  late.socket.write(get(CHAT))
  await late.closed
  t.equal(late.socket.bytesRead, 0, 'a new connection is dropped')
  await app.chatEvents.emitChatMessage('c', { text: 'streams go on' })
  await streaming.received('streams go on')
  open()
  t.match(await asking.received('slow'), /connection: close/i, 'earlier requests get their responses')
  await asking.closed
  slow.open()
  await Promise.all([streaming.closed, sent.closed, closing])
  t.match(await streaming.received('retry'), /\r\n0\r\n\r\n$/, 'streams end in full')
})

t.test('over HTTP/2, a stream request during the slow preClose of another plugin may be repeated', async (t) => {
  let slow = { begun: Promise.resolve(), open: (): void => {} }
  const app = await start(t, { http2: true }, (app) => { slow = slowPreClose(app) })
  await listen(app)
  const session = http2.connect(`http://127.0.0.1:${portOf(app)}`)
  t.teardown(() => session.destroy())
  const stream = await EventStream.overHttp2(t, session, CHAT)
  await stream.next()
  const away = once(session, 'goaway')
  const closing = app.close()
  await Promise.all([slow.begun, away])
  t.throws(() => session.request({ ':path': CHAT }), { code: 'ERR_HTTP2_GOAWAY_SESSION' })
  await app.chatEvents.emitChatMessage('c', { n: 1 })
  t.match(await stream.next(), { data: { message: { n: 1 } } })
  slow.open()
  await stream.end()
  await closing
})
