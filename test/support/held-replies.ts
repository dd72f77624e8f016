import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import type { Test } from 'tap'

const SCRIPT = /\r\nevalsha\r\n/gi

/** A way to a port of this machine that can hold back replies until some number of scripts was called. */
export class HeldReplies {
  readonly port: number
  readonly #sockets = new Set<Socket>()
  #calls = 0
  #most = 0
  #held: (() => void)[] = []

  private constructor (server: net.Server) {
    this.port = (server.address() as { port: number }).port
  }

  /** Closed with the test. */
  static async start (t: Test, to: number): Promise<HeldReplies> {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = new HeldReplies(server)
    server.on('connection', (socket) => proxy.#forward(socket, to))
    t.teardown(() => {
      server.close()
      for (const socket of proxy.#sockets) socket.destroy()
    })
    return proxy
  }

  /** Holds back all replies from now on until `calls` scripts were called. */
  holdUntil (calls: number): void {
    this.#calls = 0
    this.#most = calls
  }

  /** Passes on all replies, until `holdUntil` is called again. */
  release (): void {
    this.#most = 0
    for (const release of this.#held.splice(0)) release()
  }

  /** How many scripts were called since then. */
  get calls (): number {
    return this.#calls
  }

  #forward (socket: Socket, to: number): void {
    const upstream = net.connect(to, '127.0.0.1').on('error', () => {})
    this.#sockets.add(socket).add(upstream)
    socket.on('error', () => {}).on('close', () => upstream.destroy())
    upstream.on('close', () => socket.destroy())
    let rest = ''
    socket.on('data', (data: Buffer) => {
      upstream.write(data)
      // A call may come in pieces.
      const text = rest + data.toString('latin1')
      const calls = [...text.matchAll(SCRIPT)]
      this.#calls += calls.length
      const last = calls.at(-1)
      rest = text.slice(Math.max(text.length - 10, last === undefined ? 0 : last.index + last[0].length))
      if (this.#calls >= this.#most) this.release()
    })
    upstream.on('data', (reply) => {
      if (this.#calls >= this.#most) socket.write(reply)
      else this.#held.push(() => socket.write(reply))
    })
  }
}
