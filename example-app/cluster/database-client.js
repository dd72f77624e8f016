// @ts-check
import { WireMessages, messagesIn } from './wire-messages.js'

/** The codes of first messages. */
const CANCEL_REQUEST = 80_877_102
const SSL_REQUEST = 80_877_103
const GSS_REQUEST = 80_877_104

const NOTIFICATION = 0x41
const READY = 0x5a
const IDLE = 0x49
const TERMINATE = 0x58

/** Sync and then `ROLLBACK`: whatever was begun has ended after these two. */
const ABORT = [Buffer.from('S\0\0\0\x04'), Buffer.from('Q\0\0\0\x0dROLLBACK\0')]

/**
 * A client of the database. PGlite has a single session, and the messages of a query or a transaction belong together.
 * So a client has the session for itself from the first of them until the database is ready for the next query outside
 * of a transaction. Clients must not use what outlasts a transaction: named statements, or `SET`.
 */
export class DatabaseClient {
  #socket
  #pglite
  #notify
  /** Gives the session back. Absent if this client does not have it. @type {((value?: unknown) => void) | undefined} */
  #release

  /**
   * @param {import('node:net').Socket} socket
   * @param {import('@electric-sql/pglite').PGlite} pglite
   * @param {(notification: Buffer, from: DatabaseClient) => void} notify passes a notification on to other clients
   */
  constructor (socket, pglite, notify) {
    this.#socket = socket
    this.#pglite = pglite
    this.#notify = notify
  }

  /** Resolves when the client has disconnected. */
  async serve () {
    try {
      await this.#serve()
    } catch {
      // The connection broke.
    }
    this.#socket.destroy()
    if (this.#release === undefined) return
    for (const message of ABORT) await this.#pglite.execProtocolRaw(message)
    this.#release()
  }

  /** @param {Uint8Array} message */
  send (message) {
    if (this.#socket.writable) this.#socket.write(message)
  }

  disconnect () {
    this.#socket.destroy()
  }

  async #serve () {
    const messages = new WireMessages()
    let started = false
    for await (const bytes of this.#socket) {
      messages.add(bytes)
      for (;;) {
        const message = messages.next({ typeBytes: started ? 1 : 0 })
        if (message === undefined) break
        const code = started ? undefined : message.readInt32BE(4)
        if (code === CANCEL_REQUEST || (started && message[0] === TERMINATE)) return
        if (code === SSL_REQUEST || code === GSS_REQUEST) this.send(Buffer.from('N'))
        else {
          started = true
          await this.#execute(message)
        }
      }
    }
  }

  /** @param {Buffer} message */
  async #execute (message) {
    if (this.#release === undefined) await this.#acquire()
    const output = await this.#pglite.execProtocolRaw(message)
    this.send(output)
    for (const part of messagesIn(output)) {
      if (part[0] === NOTIFICATION) this.#notify(part, this)
      if (part[0] === READY && part.at(-1) === IDLE) this.#giveBack()
    }
  }

  /** Resolves once no other client has the session. @returns {Promise<void>} */
  #acquire () {
    return new Promise((resolve) => {
      this.#pglite.runExclusive(() => {
        resolve()
        return new Promise((resolve) => { this.#release = resolve })
      })
    })
  }

  #giveBack () {
    this.#release?.()
    this.#release = undefined
  }
}
