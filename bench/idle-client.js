// @ts-check
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { answerCalls } from './child.js'
import { HEADERS } from './headers.js'

// The clients of idle-100k.js. Each keeps the id of its last event. If its stream breaks, it waits as long as the
// server asked for, and resumes. It checks that it gets every event of its chat, once and in order.

/**
 * The streams that a process opens.
 * @typedef {object} OpenOptions
 * @property {number} port
 * @property {string} path
 * @property {number} network The third number of the addresses of its clients.
 * @property {number} chats
 * @property {number} count
 * @property {number} lanes The number of streams that are opened at the same time.
 */

/** With many more, the kernel would take long to find a free port. */
const PER_ADDRESS = 2_000

/**
 * A client without a response for so long tries again. A connection that the primary is handing to a worker while that
 * one is killed gets none: Node neither closes it nor gives it to another worker.
 */
const PATIENCE_MS = 45_000

/** What a client looks for: how long to wait for a reconnect, the id and the number of an event. */
const FIELDS = /^(retry|id): (.+)\n|#~(\d{8})/gm

/** All sockets are read into the same memory. */
const memory = Buffer.allocUnsafe(65_536)

/** Numbers of all clients of this process. */
const totals = { open: 0, opened: 0, resumed: 0, received: 0, refused: 0 }
/** @type {string | undefined} */
let failure
let retryMs = 2_000

class Client {
  /** The number of the next event. */
  next = 0
  /** The end of the last read, if it was not the end of an event. */
  rest = ''
  lastEventId = ''
  open = false
  /** @type {() => void} */
  onOpen = () => {}

  /**
   * @param {string} path
   * @param {{ port: number, localAddress: string }} address
   */
  constructor (path, address) {
    this.path = path
    this.address = address
  }

  connect () {
    const socket = connect({
      ...this.address,
      host: '127.0.0.1',
      onread: { buffer: memory, callback: (size) => this.read(memory.toString('latin1', 0, size)) }
    })
    socket.once('connect', () => {
      const resume = this.lastEventId === '' ? [] : [`last-event-id: ${this.lastEventId}`]
      const headers = ['accept: text/event-stream', ...resume, ...HEADERS]
      socket.write(`GET ${this.path} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`)
    })
    const impatient = setTimeout(() => { if (!this.open) socket.destroy() }, PATIENCE_MS)
    socket.once('close', () => clearTimeout(impatient))
    // `close` follows.
    socket.on('error', () => {})
    socket.on('close', () => this.closed())
  }

  /** @param {string} text */
  read (text) {
    const all = this.rest + text
    const end = all.lastIndexOf('\n\n') + 2
    this.rest = end === 1 ? all : ''
    if (end === 1) return true
    if (end + 2 < all.length) this.rest = all.slice(end)
    for (const [, field, value, number] of all.slice(0, end).matchAll(FIELDS)) {
      if (field === 'retry') retryMs = Number(value)
      else if (field === 'id') this.lastEventId = /** @type {string} */ (value)
      else this.take(Number(number))
    }
    if (!this.open && all.includes('event: ready')) {
      this.open = true
      totals.open++
      totals.opened++
      this.onOpen()
    }
    return true
  }

  /** @param {number} number */
  take (number) {
    if (number !== this.next) failure ??= `A client of ${this.path} got event ${number} instead of ${this.next}`
    this.next = number + 1
    totals.received++
  }

  async closed () {
    this.rest = ''
    if (this.open) {
      this.open = false
      totals.open--
      totals.resumed++
    } else {
      totals.refused++
    }
    await delay(retryMs)
    this.connect()
  }
}

answerCalls({
  /** Opens streams, `lanes` of them at a time. Chats take turns. */
  async open (/** @type {OpenOptions} */ { port, path, network, chats, count, lanes }) {
    let index = 0
    await Promise.all(Array.from({ length: lanes }, async () => {
      while (index < count) {
        const localAddress = `127.0.${network}.${1 + Math.floor(index / PER_ADDRESS)}`
        const client = new Client(path.replace(':chat', `chat${index++ % chats}`), { port, localAddress })
        await new Promise((resolve) => {
          client.onOpen = () => resolve(undefined)
          client.connect()
        })
      }
    }))
  },

  totals () {
    if (failure !== undefined) throw new Error(failure)
    return totals
  }
})
