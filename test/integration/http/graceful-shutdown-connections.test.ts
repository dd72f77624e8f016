import t, { type Test } from 'tap'
import dns from 'node:dns'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import tls from 'node:tls'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { EventStream } from '../../support/event-stream.ts'
import { CHAT, get, portOf, whenDraining, slowRoute, start, client, connect, listen } from './closing-app.ts'

const key = await readFile(new URL('../../support/tls/key.pem', import.meta.url))
const cert = await readFile(new URL('../../support/tls/cert.pem', import.meta.url))

/** Responds as an echo, in a protocol of its own. */
function echo (socket: net.Socket): void {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
  socket.on('data', (chunk) => socket.write(chunk)).on('end', () => socket.end())
}

/** A connection works while the app closes, until its client ends it. Then the app has closed. */
async function outlivesClosing (
  app: FastifyInstance, draining: Promise<void>, { socket, received, closed }: ReturnType<typeof client>
): Promise<void> {
  const closing = app.close()
  await draining
  socket.write('still here')
  await received('still here')
  socket.end()
  await Promise.all([closed, closing])
}

type TakeOver = (server: http.Server) => unknown
const takeOvers: [string, TakeOver, string, FastifyServerOptions][] = [
  [
    'upgraded, as to a WebSocket',
    (server) => server.on('upgrade', (_request, socket) => echo(socket as net.Socket)),
    get('/', 'Connection: Upgrade', 'Upgrade: echo'),
    {}
  ],
  [
    'a tunnel of CONNECT',
    (server) => server.on('connect', (_request, socket) => echo(socket as net.Socket)),
    'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n',
    {}
  ],
  ['of another protocol', () => {}, 'not HTTP\r\n', { clientErrorHandler: (_error, socket) => echo(socket) }]
]
for (const [what, takeOver, hello, server] of takeOvers) {
  for (const when of ['before', 'after'] as const) {
    t.test(`a connection that is ${what} is not touched, if its listener was added ${when} the plugin`, async (t) => {
      const app = await start(t, server, (app) => { if (when === 'before') takeOver(app.server) })
      if (when === 'after') takeOver(app.server)
      const draining = whenDraining(app)
      await listen(app)
      const connection = connect(t, app)
      const { socket, received } = connection
      socket.write(hello)
      await received('101')
      await outlivesClosing(app, draining, connection)
    })
  }
}

t.test('a TLS connection of a protocol unknown to HTTP/2 is not touched', async (t) => {
  const app = await start(t, { http2: true, https: { key, cert } })
  app.server.on('unknownProtocol', echo)
  const draining = whenDraining(app)
  await listen(app)
  const connection = client(t, tls.connect({ port: portOf(app), host: '127.0.0.1', ca: cert }))
  await connection.received('101')
  await outlivesClosing(app, draining, connection)
})

/** Gives `localhost` two addresses, independent of this machine. */
function twoAddresses (t: Test): void {
  const { lookup } = dns
  const both = [{ address: '127.0.0.1', family: 4 }, { address: '127.0.0.2', family: 4 }]
  dns.lookup = ((host: string, ...rest: [object, (...found: unknown[]) => void] | [(...found: unknown[]) => void]) => {
    const [options, callback] = rest.length === 1 ? [{}, rest[0]] : rest
    if (host !== 'localhost') lookup(host, options, callback)
    else if ('all' in options && options.all === true) process.nextTick(callback, null, both)
    else process.nextTick(callback, null, '127.0.0.1', 4)
  }) as typeof lookup
  t.teardown(() => { dns.lookup = lookup })
}

for (const [protocol, server] of [['HTTP/1.1', {}], ['HTTPS', { https: { key, cert } }]] as const) {
  t.test(`if localhost has two addresses, closing ends connections of the second one, over ${protocol}`, async (t) => {
    twoAddresses(t)
    const app = await start(t, server)
    const { begun, open } = slowRoute(app)
    await app.listen({ port: 0 })
    t.same(app.addresses().map((bound) => (bound as net.AddressInfo).address).sort(), ['127.0.0.1', '127.0.0.2'])
    const port = portOf(app)
    const to = (): net.Socket => {
      return protocol === 'HTTPS'
        ? tls.connect({
          port, host: '127.0.0.2', ca: cert, checkServerIdentity: () => undefined
        })
        : net.connect(port, '127.0.0.2')
    }
    const [unused, streaming, asking] = Array.from({ length: 3 }, () => client(t, to())) as [
      ReturnType<typeof client>, ReturnType<typeof client>, ReturnType<typeof client>
    ]
    streaming.socket.write(get(CHAT))
    asking.socket.write(get('/slow'))
    await Promise.all([
      streaming.received('event: ready'), begun, unused.socket.readyState === 'open' || once(unused.socket, 'connect')
    ])
    const draining = new Promise<void>((resolve) => { app.server.once('close', () => resolve()) })
    const closing = app.close()
    await unused.closed
    const late = client(t, net.connect(port, '127.0.0.2'))
    await late.closed
    t.equal(late.socket.bytesRead, 0, 'a new connection is dropped')
    t.match(await streaming.received('retry'), /event: ready/)
    await Promise.all([streaming.closed, draining, closing])
    open()
    t.match(await asking.received('slow'), /connection: close/i)
    await asking.closed
  })
}

t.test('if localhost has two addresses, closing ends HTTP/2 sessions on the second one', async (t) => {
  twoAddresses(t)
  const app = await start(t, { http2: true })
  await app.listen({ port: 0 })
  const sessions = [1, 2].map(() => http2.connect(`http://127.0.0.2:${portOf(app)}`))
  for (const session of sessions) t.teardown(() => session.destroy())
  const streams = await Promise.all(sessions.map(async (session) => await EventStream.overHttp2(t, session, CHAT)))
  const closed = sessions.map(async (session) => await once(session, 'close'))
  await app.close()
  for (const stream of streams) {
    t.match(await stream.end(), [{ event: 'ready' }])
    t.equal(stream.retries.length, 2, 'it was not cut')
  }
  await Promise.all(closed)
})

for (const [protocol, https] of [['http', undefined], ['https', { key, cert }]] as const) {
  t.test(`an HTTP/2 session over ${protocol} is removed once its connection is closed`, async (t) => {
    const app = await start(t, { http2: true, https })
    await listen(app)
    const sessions = once(app.server, 'session') as Promise<[http2.ServerHttp2Session]>
    const client = http2.connect(`${protocol}://127.0.0.1:${portOf(app)}`, { ca: cert })
    t.teardown(() => client.destroy())
    const [session] = await sessions
    // `session.socket` is a proxy. Its methods return the socket itself, which outlives the session.
    const disconnected = once(session.socket.off('close', () => {}), 'close')
    client.close()
    await disconnected
    let closed = 0
    session.close = () => { closed++ }
    await app.close()
    t.equal(closed, 0)
  })
}

t.test('connections of other servers of the process are not touched', async (t) => {
  const app = await start(t)
  await listen(app)
  const other = http.createServer((_request, response) => response.end('other')).listen(0, '127.0.0.1')
  t.teardown(() => other.close())
  await once(other, 'listening')
  const { socket, received } = client(t, net.connect((other.address() as net.AddressInfo).port, '127.0.0.1'))
  await once(other, 'connection')
  await app.close()
  socket.write(get('/'))
  await received('other')
})

/** A path to listen at: the path of a Unix socket may have 107 bytes. */
async function unixSocket (t: Test): Promise<string> {
  const dir = await mkdtemp(`${tmpdir()}/rt-`)
  t.teardown(() => rm(dir, { recursive: true }))
  return `${dir}/app.sock`
}

for (const [protocol, server] of [
  ['HTTP/1.1', {}],
  ['HTTPS', { https: { key, cert } }],
  ['HTTP/2', { http2: true }],
  ['HTTP/2 over TLS', { http2: true, https: { key, cert } }]
] as const) {
  t.test(`over a Unix socket, closing ends idle, silent and streaming connections of ${protocol}`, async (t) => {
    const app = await start(t, server)
    const path = await unixSocket(t)
    await app.listen({ path })
    const secure = 'https' in server
    const silent = client(t, net.connect(path))
    await once(app.server, 'connection')
    const used = secure
      ? tls.connect({
        path, ca: cert, ALPNProtocols: 'http2' in server ? ['h2'] : ['http/1.1'], checkServerIdentity: () => undefined
      })
      : net.connect(path)
    t.teardown(() => used.destroy())
    if (!('http2' in server)) {
      const { socket, received, closed } = client(t, used)
      socket.write(get(CHAT))
      await received('event: ready')
      await Promise.all([app.close(), silent.closed, closed])
      return
    }
    const session = http2.connect('http://x', { createConnection: () => used })
    t.teardown(() => session.destroy())
    const stream = await EventStream.overHttp2(t, session, CHAT)
    await stream.next()
    await Promise.all([app.close(), silent.closed, stream.end()])
    t.equal(stream.retries.length, 2, 'it was not cut')
  })
}

t.test('an HTTP/2 client on a Unix socket that stops responding does not delay closing', async (t) => {
  const app = await start(t, { http2: true }, () => {}, { drainTimeoutMs: 100 })
  const path = await unixSocket(t)
  await app.listen({ path })
  const deaf = new Worker(`
    const { connect } = require('node:http2')
    const { parentPort, workerData } = require('node:worker_threads')
    const createConnection = () => require('node:net').connect(workerData)
    const request = connect('http://x', { createConnection }).request({ ':path': '${CHAT}' })
    request.once('response', () => {
      parentPort.postMessage('open')
      // It neither reads nor writes from here on, with its connection open.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })
  `, { eval: true, workerData: path })
  t.teardown(() => deaf.terminate())
  await once(deaf, 'message')
  await app.close()
  t.pass('closed')
})
