import t, { type Test } from 'tap'
import http from 'node:http'
import { once } from 'node:events'
import { Connection } from '../../lib/sse/connection.ts'

async function open (t: Test, maxBufferedBytes: number): Promise<{ connection: Connection, client: http.ClientRequest, received: () => string }> {
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
  return { connection: new Connection(response, maxBufferedBytes), client, received: () => received }
}

t.test('a heartbeat is written only where nothing else was since the last', async (t) => {
  const { connection, client, received } = await open(t, 1_000)
  const closed = once(client, 'close')
  const drained = (): Promise<boolean> => connection.writeAndDrain(Buffer.from('data\n'))
  await drained()
  connection.beat()
  await drained()
  connection.beat()
  // What was written is on its way by the next turn.
  await new Promise(setImmediate)
  connection.beat()
  connection.beat()
  await connection.end()
  await closed
  t.match(received(), /^data\ndata\n(:\n\n){1,2}$/)
})

t.test('what is written to a stream that was cut goes nowhere and fails nobody', async (t) => {
  const { connection, client } = await open(t, 10)
  let closed = 0
  connection.onClose(() => { closed++ })
  connection.onClose(() => t.fail('told although taken off'))()
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
