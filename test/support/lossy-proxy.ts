import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import type { Test } from 'tap'

/**
 * A way to a port of this machine that can lose what comes back on it, and hold back what goes there. Closed with the
 * test.
 */
export class LossyProxy {
  readonly port: number
  readonly #sockets = new Set<Socket>()
  #losing: (() => Promise<void>) | undefined
  /** What is asked when the reply is to be lost. */
  #asked = ''
  #holding: { words: string, resolve: (held: HeldConnection) => void } | undefined

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

  /**
   * Swallows what comes back next after a question that has these words in it, does something, and resets the
   * connection that it was for. Resolves when it has.
   */
  loseReplyTo (words: string, meanwhile: () => unknown = () => {}): Promise<void> {
    this.#asked = words
    return new Promise((resolve) => { this.#losing = async () => { await meanwhile(); resolve() } })
  }

  /**
   * Takes the next question that has these words in it, and what comes after it on its connection. Resolves when it
   * has.
   */
  holdBack (words: string): Promise<HeldConnection> {
    return new Promise((resolve) => { this.#holding = { words, resolve } })
  }

  #forward (socket: Socket, to: number): void {
    const upstream = net.connect(to, '127.0.0.1')
    this.#sockets.add(socket)
    let held: Buffer[] | undefined
    socket.on('error', () => {}).on('close', () => {
      this.#sockets.delete(socket)
      if (held === undefined) upstream.destroy()
    })
    upstream.on('error', () => {}).on('close', () => socket.destroy())
    let asked = ''
    let hasAsked = false
    socket.on('end', () => { if (held === undefined) upstream.end() })
    socket.on('data', (question: Buffer) => {
      if (held === undefined && this.#holding !== undefined && question.includes(this.#holding.words)) {
        held = []
        this.#sockets.add(upstream)
        this.#holding.resolve({
          cut: () => socket.resetAndDestroy(),
          deliver: () => deliver(upstream, held as Buffer[])
        })
        this.#holding = undefined
      }
      if (held === undefined) upstream.write(question)
      else held.push(question)
      // A question may come in pieces, and another one right after it.
      asked = asked.slice(asked.length - this.#asked.length) + question.toString('latin1')
      if (this.#losing !== undefined && asked.includes(this.#asked)) hasAsked = true
    })
    upstream.on('data', (reply) => {
      if (this.#losing === undefined || !hasAsked) return socket.write(reply)
      const losing = this.#losing
      this.#losing = undefined
      upstream.pause()
      losing().then(() => socket.resetAndDestroy())
    })
  }
}

/** A connection from which a question was held back, as a proxy may that has lost its client. */
export interface HeldConnection {
  /** Ends it towards the one who asked, but not towards the one that is asked. */
  cut (): void
  /** Delivers what was held back. Resolves with the first words of the reply. */
  deliver (): Promise<string>
}

async function deliver (upstream: Socket, held: Buffer[]): Promise<string> {
  upstream.write(Buffer.concat(held))
  return String((await once(upstream, 'data'))[0])
}
