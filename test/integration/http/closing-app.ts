import type { Test } from 'tap'
import net from 'node:net'
import { once } from 'node:events'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import realtimePlugin, { type RealtimeOptions } from '../../../lib/index.ts'

export const CHAT = '/api/chats/c/events'
export const get = (path: string, ...headers: string[]): string => {
  return [`GET ${path} HTTP/1.1`, 'Host: x', ...headers, '', ''].join('\r\n')
}
export const portOf = ({ server }: FastifyInstance): number => (server.address() as net.AddressInfo).port

/** Resolves once the app has begun to close. */
export const whenDraining = (app: FastifyInstance): Promise<void> =>
  new Promise((resolve) => { app.addHook('preClose', async () => { resolve() }) })

/** A handler that responds once it is opened. */
export function slowRoute (app: FastifyInstance): { begun: Promise<void>, open: () => void } {
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  const begun = new Promise<void>((resolve) => {
    app.get('/slow', async () => {
      resolve()
      await gate
      return 'slow'
    })
  })
  return { begun, open }
}

export async function start (
  t: Test, server: object = {}, setup: (app: FastifyInstance) => unknown = () => {}, options: RealtimeOptions = {}
): Promise<FastifyInstance> {
  const app = Fastify(server as FastifyServerOptions)
  t.teardown(() => app.close())
  await setup(app)
  await app.register(realtimePlugin, options)
  return app
}

/** A client of any protocol, with all that it has received. */
export function client (t: Test, socket: net.Socket): {
  socket: net.Socket
  received: (text: string) => Promise<string>
  closed: Promise<void>
} {
  let all = ''
  socket.setEncoding('utf8').on('data', (chunk) => { all += chunk }).on('error', () => {})
  t.teardown(() => socket.destroy())
  const closed = new Promise<void>((resolve) => { socket.once('close', () => resolve()) })
  const received = async (text: string): Promise<string> => {
    while (!all.includes(text)) await once(socket, 'data')
    return all
  }
  return { socket, received, closed }
}

export const connect = (t: Test, app: FastifyInstance): ReturnType<typeof client> => {
  return client(t, net.connect(portOf(app), '127.0.0.1'))
}
export const listen = async (app: FastifyInstance): Promise<string> => await app.listen({ port: 0, host: '127.0.0.1' })
