import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import type { Test } from 'tap'

/**
 * A way to a port of this machine that can be shut: what is connected then is cut, and so is whatever connects. Closed
 * with the test.
 */
export class Gate {
  readonly port: number
  readonly #sockets = new Set<Socket>()
  #isOpen: boolean

  private constructor (server: net.Server, isOpen: boolean) {
    this.port = (server.address() as { port: number }).port
    this.#isOpen = isOpen
  }

  static async start (t: Test, to: number, { isOpen = true } = {}): Promise<Gate> {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const gate = new Gate(server, isOpen)
    server.on('connection', (socket) => gate.#forward(socket, to))
    t.teardown(() => {
      server.close()
      gate.shut()
    })
    return gate
  }

  get url (): string {
    return `redis://127.0.0.1:${this.port}`
  }

  open (): void {
    this.#isOpen = true
  }

  shut (): void {
    this.#isOpen = false
    for (const socket of this.#sockets) socket.destroy()
  }

  #forward (socket: Socket, to: number): void {
    socket.on('error', () => {})
    if (!this.#isOpen) {
      socket.destroy()
      return
    }
    const upstream = net.connect(to, '127.0.0.1').on('error', () => {})
    this.#sockets.add(socket)
    socket.on('close', () => { this.#sockets.delete(socket); upstream.destroy() })
    upstream.on('close', () => socket.destroy())
    socket.pipe(upstream).pipe(socket)
  }
}
