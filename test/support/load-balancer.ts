import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import type { Test } from 'tap'

/**
 * Leads each connection to one of several ports of this machine in turn. One that refuses is taken out. Closed with the
 * test.
 */
export class LoadBalancer {
  readonly url: string
  readonly #sockets = new Set<Socket>()
  /** The next one first. */
  #ports: number[] = []

  private constructor (server: net.Server) {
    this.url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  }

  static async start (t: Test): Promise<LoadBalancer> {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const balancer = new LoadBalancer(server)
    server.on('connection', (socket) => {
      balancer.#sockets.add(socket)
      socket.on('error', () => {}).on('close', () => { balancer.#sockets.delete(socket) })
      balancer.#lead(socket)
    })
    t.teardown(() => {
      server.close()
      for (const socket of balancer.#sockets) socket.destroy()
    })
    return balancer
  }

  add (url: string): void {
    this.#ports.push(Number(new URL(url).port))
  }

  #lead (socket: Socket): void {
    const port = this.#ports.shift()
    if (port === undefined) {
      socket.destroy()
      return
    }
    this.#ports.push(port)
    const upstream = net.connect(port, '127.0.0.1')
    upstream.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code !== 'ECONNREFUSED') return socket.destroy()
      this.#ports = this.#ports.filter((other) => other !== port)
      this.#lead(socket)
    })
    upstream.once('connect', () => {
      if (socket.destroyed) return upstream.destroy()
      // What one side has sent before it ends reaches the other.
      upstream.on('close', () => socket.destroySoon())
      socket.on('close', () => upstream.destroy())
      socket.pipe(upstream).pipe(socket)
    })
  }
}
