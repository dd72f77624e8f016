import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import type { Test } from 'tap'

/** A way to a port of this machine that can lose what comes back on it. Closed with the test. */
export class LossyProxy {
  readonly port: number
  readonly #sockets = new Set<Socket>()
  #losing: (() => Promise<void>) | undefined
  /** What is asked when the reply is to be lost; anything, if nothing is said. */
  #asked = ''

  private constructor (server: net.Server) {
    this.port = (server.address() as { port: number }).port
  }

  static async start (t: Test, to: number): Promise<LossyProxy> {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = new LossyProxy(server)
    server.on('connection', (socket) => proxy.#forward(socket, to))
    t.teardown(() => {
      server.close()
      for (const socket of proxy.#sockets) socket.destroy()
    })
    return proxy
  }

  /** Swallows the next reply, does something, and resets the connection that it was for. Resolves when it has. */
  loseNextReply (meanwhile?: () => unknown): Promise<void> {
    return this.loseReplyTo('', meanwhile)
  }

  /** The same with what comes back next after a question that has these words in it. */
  loseReplyTo (words: string, meanwhile: () => unknown = () => {}): Promise<void> {
    this.#asked = words
    return new Promise((resolve) => { this.#losing = async () => { await meanwhile(); resolve() } })
  }

  #forward (socket: Socket, to: number): void {
    const upstream = net.connect(to, '127.0.0.1')
    this.#sockets.add(socket)
    socket.on('error', () => {}).on('close', () => { this.#sockets.delete(socket); upstream.destroy() })
    upstream.on('error', () => {}).on('close', () => socket.destroy())
    let asked = ''
    let hasAsked = false
    socket.pipe(upstream)
    socket.on('data', (question: Buffer) => {
      // A question may come in pieces, and another one right after it.
      asked = asked.slice(asked.length - this.#asked.length) + question.toString('latin1')
      if (this.#losing !== undefined && asked.includes(this.#asked)) hasAsked = true
    })
    upstream.on('data', (reply) => {
      if (this.#losing === undefined || !(hasAsked || this.#asked === '')) return socket.write(reply)
      const losing = this.#losing
      this.#losing = undefined
      upstream.pause()
      losing().then(() => socket.resetAndDestroy())
    })
  }
}
