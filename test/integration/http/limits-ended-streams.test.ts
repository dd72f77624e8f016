import t, { type Test } from 'tap'
import type { ServerResponse } from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { once } from 'node:events'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import realtimePlugin, { type AccessGrant } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { turn } from '../../support/turn.ts'

const named = ({ headers }: FastifyRequest): AccessGrant => ({ userId: headers.authorization ?? 'ada' })

/**
 * A client over HTTP/1.1 that asks for a stream and reads nothing, with more on the way to it than both sides can
 * buffer.
 */
async function stall (t: Test, app: FastifyInstance): Promise<{ client: net.Socket, socket: net.Socket }> {
  const accepted = once(app.server, 'connection')
  const client = net.connect((app.server.address() as net.AddressInfo).port, '127.0.0.1').on('error', () => {})
  t.teardown(() => client.destroy())
  client.pause().write('GET /api/chats/c/events HTTP/1.1\r\nHost: x\r\n\r\n')
  const [socket] = await accepted as [net.Socket]
  while (app.chatEvents.stats().localChats === 0) await turn()
  while (socket.writableLength < 1_000_000) {
    await app.chatEvents.emitChatMessage('c', { text: 'x'.repeat(60_000) })
    await turn()
  }
  return { client, socket }
}

t.test('a stream that has ended counts until its client has received the rest', async (t) => {
  const { app, url } = await startApp(t, {
    maxConnectionsPerClient: 1, authorize: named, maxBufferedBytes: 100_000_000, drainTimeoutMs: 600_000
  })
  const { client, socket } = await stall(t, app)
  await app.chatEvents.revoke('c', 'ada')
  t.match(await (await fetch(`${url}/api/chats/c/events`)).json(), { code: 'RT_TOO_MANY_PER_CLIENT' })
  const closed = new Promise((resolve) => { socket.once('close', resolve) })
  client.destroy()
  await closed
  t.equal((await EventStream.open(t, `${url}/api/chats/c/events`)).response.status, 200)
})

t.test('an ended stream is cut if its client does not receive the rest within drainTimeoutMs', async (t) => {
  const { app, url } = await startApp(t, {
    maxConnections: 1, authorize: named, maxBufferedBytes: 100_000_000, drainTimeoutMs: 50
  })
  const { socket } = await stall(t, app)
  const closed = once(socket, 'close')
  await app.chatEvents.revoke('c', 'ada')
  await closed
  t.equal((await EventStream.open(t, `${url}/api/chats/c/events`)).response.status, 200)
})

t.test('a client whose stream has ended completely may open the next one on the same connection at once', async (t) => {
  const { app } = await startApp(t, { maxConnections: 1, maxConnectionsPerClient: 1, authorize: named })
  const client = net.connect((app.server.address() as net.AddressInfo).port, '127.0.0.1').setEncoding('utf8')
  t.teardown(() => client.destroy())
  let received = ''
  client.on('data', (chunk) => { received += chunk })
  for (let streams = 1; streams <= 3; streams++) {
    client.write('GET /api/chats/c/events HTTP/1.1\r\nHost: x\r\n\r\n')
    while (received.split('event: ready').length <= streams) await once(client, 'data')
    await app.chatEvents.revoke('c', 'ada')
    while (received.split('\r\n0\r\n\r\n').length <= streams) await once(client, 'data')
  }
  t.notMatch(received, /RT_TOO_MANY/)
})

/**
 * A stream over HTTP/2 that has ended while its client did not read, so that more was on the way than it may be sent.
 */
async function stallOverHttp2 (t: Test, drainTimeoutMs: number): Promise<{
  stalled: http2.ClientHttp2Stream, status: () => Promise<number>
}> {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(realtimePlugin, {
    maxStreamsPerSession: 1, authorize: named, maxBufferedBytes: 100_000_000, drainTimeoutMs
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = http2.connect(`http://127.0.0.1:${(app.server.address() as net.AddressInfo).port}`)
  t.teardown(() => session.destroy())
  const request = (): http2.ClientHttp2Stream => session.request({ ':path': '/api/chats/c/events' })
  const stalled = request()
  await once(stalled, 'response')
  for (let n = 0; n < 3; n++) await app.chatEvents.emitChatMessage('c', { text: 'x'.repeat(60_000) })
  await turn()
  await app.chatEvents.revoke('c', 'ada')
  return { stalled, status: async () => (await once(request().resume(), 'response'))[0][':status'] }
}

t.test('over HTTP/2, a stream that has ended counts until its client has received the rest', async (t) => {
  const { stalled, status } = await stallOverHttp2(t, 600_000)
  t.equal(await status(), 503)
  await once(stalled.resume(), 'close')
  t.equal(stalled.rstCode, http2.constants.NGHTTP2_NO_ERROR)
  t.equal(await status(), 200)
})

t.test('over HTTP/2, an ended stream is cut if its client stops reading, and its connection stays', async (t) => {
  const { stalled, status } = await stallOverHttp2(t, 50)
  await once(stalled, 'close')
  t.equal(stalled.rstCode, http2.constants.NGHTTP2_CANCEL, 'a clean end would mean that no event is missing')
  t.equal(await status(), 200)
})

t.test('an open stream has two listeners for the end of its response, since more take much memory', async (t) => {
  const { app, url } = await startApp(t)
  const requested = once(app.server, 'request') as Promise<[unknown, ServerResponse]>
  await EventStream.open(t, `${url}/api/chats/c/events`)
  const [, response] = await requested
  t.equal(response.listenerCount('close'), 2)
})
