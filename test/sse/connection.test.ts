import t from 'tap'
import http from 'node:http'
import { once } from 'node:events'
import { Connection } from '../../lib/sse/connection.ts'

t.test('what is written to a stream that was cut goes nowhere and fails nobody', async (t) => {
  const server = http.createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const requested = once(server, 'request')
  const client = http.get({ port: (server.address() as { port: number }).port, host: '127.0.0.1' }).on('error', () => {})
  const [, response] = await requested as [http.IncomingMessage, http.ServerResponse]
  const connection = new Connection(response, 10)
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
