import t, { type Test } from 'tap'
import http from 'node:http'
import net from 'node:net'
import { once } from 'node:events'
import { Connection } from '../../../lib/sse/connection.ts'
import { ChunkEncoder } from '../../../lib/sse/frame.ts'

const options = { drainTimeoutMs: 10_000, chunks: new ChunkEncoder(), onSlow () {} }

interface Opened {
  connection: Connection
  response: http.ServerResponse
  client: http.ClientRequest
  received: () => string
}

async function open (t: Test, maxBufferedBytes: number): Promise<Opened> {
  const server = http.createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const requested = once(server, 'request')
  let received = ''
  const client = http.get({ port: (server.address() as { port: number }).port, host: '127.0.0.1' }, (response) => {
    response.setEncoding('utf8').on('data', (chunk) => { received += chunk })
  })
  client.on('error', () => {})
  const [, response] = await requested as [http.IncomingMessage, http.ServerResponse]
  return {
    connection: new Connection(response, { ...options, maxBufferedBytes }),
    response,
    client,
    received: () => received
  }
}

/** Returns a function that returns how often bytes were handed to the kernel. */
function countWrites (socket: net.Socket): () => number {
  let writes = 0
  for (const name of ['_write', '_writev'] as const) {
    const write = socket[name]?.bind(socket) as (...args: unknown[]) => void
    socket[name] = (...args: unknown[]) => {
      writes++
      write(...args)
    }
  }
  return () => writes
}

t.test('a heartbeat is written only if nothing else was written since the last one', async (t) => {
  const { connection, client, received } = await open(t, 1_000)
  const closed = once(client, 'close')
  const drained = (): Promise<boolean> => connection.writeAndDrain(Buffer.from('data\n'))
  await drained()
  connection.beat()
  await drained()
  connection.beat()
  // Written bytes are on their way by the next turn.
  await new Promise(setImmediate)
  connection.beat()
  await connection.end()
  await closed
  t.equal(received(), 'data\ndata\n:\n')
})

t.test('a silent stream gets a heartbeat at every second tick, which is once per heartbeatMs', async (t) => {
  const { connection, client, received } = await open(t, 1_000)
  const closed = once(client, 'close')
  for (let tick = 1; tick <= 5; tick++) {
    connection.beat()
    // Written bytes are on their way by the next turn.
    await new Promise(setImmediate)
  }
  await connection.end()
  await closed
  t.equal(received(), ':\n:\n')
})

t.test('an error of the response counts as a disconnect, and fails no other code', async (t) => {
  const { connection, response } = await open(t, 1_000)
  response.emit('error', new Error('reset'))
  t.notOk(connection.closed, 'only the close event ends it')
  connection.destroy()
})

t.test('a stream is cut if middleware that replaced `end` throws', async (t) => {
  const { connection, response, client } = await open(t, 1_000)
  const closed = once(client, 'close')
  response.end = () => { throw new Error('the session store is down') }
  connection.start({})
  await connection.end()
  await closed
  t.equal(connection.closed, true)
  t.equal(response.destroyed, true)
})

t.test('a stream is cut if middleware that replaced `write` throws', async (t) => {
  const { connection, response, client } = await open(t, 1_000)
  const closed = once(client, 'close')
  response.write = () => { throw new Error('out of memory') }
  connection.start({})
  t.equal(await connection.writeAndDrain(Buffer.from('x')), false)
  await closed
  t.equal(connection.closed, true)
})

t.test('a stream is cut if middleware that replaced `writeHead` throws', async (t) => {
  const { connection, response, client } = await open(t, 1_000)
  const closed = new Promise((resolve) => client.once('close', resolve))
  response.writeHead = () => { throw new Error('no cookie can be made') }
  t.throws(() => connection.start({}), { message: 'no cookie can be made' })
  await closed
  t.equal(connection.closed, true)
})

t.test('writes to a stream that was cut are dropped and throw no error', async (t) => {
  const { connection, client } = await open(t, 10)
  let closed = 0
  connection.onClose(() => { closed++ })
  connection.onClose(() => t.fail('called although removed'))()
  connection.write(Buffer.from('more than ten bytes, of which none was taken yet'))
  connection.destroy()
  connection.write(Buffer.from('x'))
  connection.beat()
  await connection.writeAndDrain(Buffer.from('x'))
  await connection.end()
  t.equal(connection.closed, true)
  t.equal(closed, 1)
  client.destroy()
})

t.test('a stream that ends accepts no more bytes, and its end is reported once', async (t) => {
  const { connection, response, client, received } = await open(t, 1_000)
  const closed = once(client, 'close')
  let [closes, ends, isResponseClosed] = [0, 0, false]
  const end = response.end.bind(response)
  response.end = () => { ends++; return end() }
  response.once('close', () => { isResponseClosed = true })
  connection.onClose(() => { closes++ })
  connection.start({})
  // More than fits into the buffers of the system, so that it is not sent at once.
  connection.write(Buffer.alloc(10_000_000, 'x'))
  const ended = [connection.end(), connection.end()]
  t.equal(connection.closed, true)
  t.equal(closes, 1, 'at once, although bytes may be unsent')
  t.equal(connection.write(Buffer.from('after')), false)
  t.equal(await connection.writeAndDrain(Buffer.from('after')), false)
  await Promise.all(ended)
  t.equal(isResponseClosed, true, 'the client has received all')
  await closed
  await connection.end()
  t.equal(received().length, 10_000_000)
  t.same([closes, ends], [1, 1])
})

t.test('a stream is closed once its client has disconnected', async (t) => {
  const { connection, client } = await open(t, 1_000)
  connection.start({})
  const closed = new Promise<void>((resolve) => { connection.onClose(resolve) })
  client.destroy()
  await closed
  t.equal(connection.closed, true)
})

t.test('a stream that is cut while it ends counts as ended', async (t) => {
  const { connection, response } = await open(t, 1_000)
  connection.start({})
  const ended = connection.end()
  connection.destroy()
  await ended
  t.equal(response.destroyed, true)
  t.equal(connection.closed, true)
})

t.test('a stream whose response is over already ends at once', async (t) => {
  const { response } = await open(t, 1_000)
  const closed = once(response, 'close')
  response.destroy()
  await closed
  const connection = new Connection(response, { ...options, maxBufferedBytes: 1_000 })
  let closes = 0
  connection.onClose(() => { closes++ })
  await connection.end()
  t.equal(closes, 1)
  t.equal(connection.closed, true)
})

t.test('streams receive the same bytes, framed for HTTP/1.1 and plain if middleware is in between', async (t) => {
  const bytes = [
    Buffer.from('data: 1\n\n'), Buffer.from(''), Buffer.from('data: \u00e9\n\n'), Buffer.alloc(70_000, 'x')
  ]
  const streams = await Promise.all(Array.from({ length: 3 }, () => open(t, 1_000_000)))
  const [, , wrapped] = streams as [Opened, Opened, Opened]
  const seen: Buffer[] = []
  const write = wrapped.response.write.bind(wrapped.response)
  wrapped.response.write = (chunk: Buffer) => {
    seen.push(chunk)
    return write(chunk)
  }
  for (const { connection } of streams) connection.start({})
  for (const chunk of bytes) for (const { connection } of streams) connection.write(chunk)
  for (const { connection, client, received } of streams) {
    const closed = once(client, 'close')
    await connection.end()
    await closed
    t.equal(received(), Buffer.concat(bytes).toString())
  }
  t.equal(Buffer.concat(seen).length, Buffer.concat(bytes).length, 'the middleware sees all of it')
})

t.test('a client of HTTP/1.0, whose stream has no chunks, gets plain bytes', async (t) => {
  const server = http.createServer((_request, response) => {
    const connection = new Connection(response, { ...options, maxBufferedBytes: 1_000 })
    connection.start({})
    connection.write(Buffer.from('data: 1\n\n'))
    connection.end()
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const socket = net.connect((server.address() as { port: number }).port, '127.0.0.1')
  socket.write('GET / HTTP/1.0\r\n\r\n')
  let text = ''
  socket.setEncoding('utf8').on('data', (part) => { text += part })
  await once(socket, 'end')
  t.match(text, /\r\n\r\ndata: 1\n\n$/)
})

t.test('what is written right after the headers goes out with them, in one write', async (t) => {
  const { connection, response, client, received } = await open(t, 1_000)
  const closed = once(client, 'close')
  const writes = countWrites(response.socket as net.Socket)
  connection.start({})
  connection.write(Buffer.from('one,'))
  connection.write(Buffer.from('two'))
  t.equal(writes(), 0)
  await new Promise(process.nextTick)
  t.equal(writes(), 1)
  connection.write(Buffer.from('.'))
  t.equal(writes(), 2, 'later frames do not wait')
  await connection.end()
  await closed
  t.equal(received(), 'one,two.')
})

t.test('bytes that wait for the headers do not count as unread, but those that were sent do', async (t) => {
  const { connection, response, client } = await open(t, 1)
  client.on('response', (message) => message.pause())
  connection.start({})
  t.ok(response.socket?.writableLength, 'the headers wait')
  connection.write(Buffer.from('one'))
  t.notOk(connection.closed)
  connection.write(Buffer.alloc(100_000_000))
  connection.write(Buffer.from('two'))
  t.ok(connection.closed, 'without waiting for the next tick')
})
