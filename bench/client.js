// @ts-check
import { connect } from 'node:net'
import { answerCalls } from './child.js'
import { MARK, MARK_LENGTH, NUMBER_WIDTH, TIME_WIDTH, microseconds } from './event.js'
import { HEADERS } from './headers.js'

// The clients of one server. They are bare sockets that look for the mark of each event and parse nothing else, so that
// the server is the bottleneck. Each checks that it gets every event of its chat, once and in order.

/**
 * The address of a server.
 * @typedef {object} Address
 * @property {number} port
 * @property {string} path `:chat` stands for the id of a chat.
 * @property {'sse' | 'socket.io'} [protocol]
 * @property {string} [ready] The text after which a client gets events. Default: the end of the headers.
 */

/**
 * @typedef {object} OpenOptions
 * @property {number} [chats]
 * @property {number} [from] The number of the first chat. Default: 0.
 * @property {number} [perChat]
 * @property {number} [stalled] Number of clients of a chat that read nothing once their stream is open.
 * @property {string[]} [lastEventIds] The event ids from which the clients of each chat resume.
 * @property {number} [opening] Number of connections that are opened at the same time.
 */

const UPGRADE = [
  'host: localhost', 'connection: Upgrade', 'upgrade: websocket', 'sec-websocket-version: 13',
  'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
  ...HEADERS.slice(2)
]
/** The masked frame with which a client of socket.io enters the main namespace. */
const ENTER = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x34, 0x30])

const mark = Buffer.from(MARK)
const nothing = Buffer.alloc(0)
/** All sockets are read into the same memory. */
const memory = Buffer.allocUnsafe(65_536)

/** @type {Set<Client>} */
const clients = new Set()
/** Number of events that all clients have received. */
let received = 0
/** Number of reads of sockets for these events. */
let reads = 0
/** @type {number[] | undefined} The latency of each event in microseconds. */
let latencies
/** @type {string | undefined} */
let failure
/** Called after each read and after each failure. */
let progress = () => {}

class Client {
  /** The number of the next event; unknown before the first. */
  next = -1
  open = false
  /** The data that arrived before the stream was open. */
  greeting = ''
  /** The beginning of a mark whose rest has not arrived. */
  rest = nothing
  /** @type {import('node:net').Socket | undefined} */
  socket

  /**
   * @param {Address} address
   * @param {string} chat
   * @param {boolean} stalled
   * @param {string | undefined} lastEventId
   * @returns {Promise<void>}
   */
  connect ({ port, path, protocol, ready = '\r\n\r\n' }, chat, stalled, lastEventId) {
    return new Promise((resolve, reject) => {
      const isWebSocket = protocol === 'socket.io'
      let entered = !isWebSocket
      const socket = this.socket = connect({
        port,
        host: '127.0.0.1',
        onread: {
          buffer: memory,
          callback: (size) => {
            if (this.open) {
              reads++
              this.read(memory.subarray(0, size))
              return true
            }
            this.greeting += memory.toString('latin1', 0, size)
            if (!/^HTTP\/1.1 (200|101) /.test(this.greeting)) {
              reject(new Error(`No stream: ${this.greeting.slice(0, 200)}`))
            }
            if (!entered && this.greeting.includes('"sid"')) {
              entered = true
              socket.write(ENTER)
            }
            const at = this.greeting.indexOf(ready)
            if (at === -1) return true
            this.open = true
            this.read(Buffer.from(this.greeting.slice(at + ready.length), 'latin1'))
            resolve()
            return !stalled
          }
        }
      })
      socket.once('connect', () => {
        const resume = lastEventId === undefined ? [] : [`last-event-id: ${lastEventId}`]
        const headers = isWebSocket ? UPGRADE : ['accept: text/event-stream', ...resume, ...HEADERS]
        socket.write(`GET ${path.replace(':chat', chat)} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`)
      })
      // A client that reads nothing may be disconnected.
      const fail = (/** @type {string} */ reason) => { if (!stalled || !this.open) this.fail(reason, reject) }
      socket.on('error', (error) => fail(error.message))
      socket.on('close', () => fail('The connection was closed'))
    })
  }

  /** @param {Buffer} bytes */
  read (bytes) {
    const chunk = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes])
    const now = latencies === undefined ? 0 : microseconds()
    let at = chunk.indexOf(mark)
    let end = at === -1 ? chunk.length : at + MARK_LENGTH
    while (at !== -1 && end <= chunk.length) {
      const number = at + MARK.length
      this.take(numberAt(chunk, number, NUMBER_WIDTH))
      if (now !== 0) latencies?.push(now - numberAt(chunk, number + NUMBER_WIDTH, TIME_WIDTH))
      at = chunk.indexOf(mark, end)
      end = at + MARK_LENGTH
    }
    if (at === -1 && chunk.at(-1) === mark[0]) at = chunk.length - 1
    this.rest = at === -1 ? nothing : Buffer.from(chunk.subarray(at))
    progress()
  }

  /** @param {number} number */
  take (number) {
    if (this.next !== -1 && number !== this.next) this.fail(`Got event ${number} instead of ${this.next}`)
    this.next = number + 1
    received++
  }

  /**
   * @param {string} reason
   * @param {(error: Error) => void} [reject]
   */
  fail (reason, reject) {
    reject?.(new Error(reason))
    failure ??= reason
    progress()
  }
}

/**
 * @param {Buffer} bytes
 * @param {number} start
 * @param {number} width
 */
function numberAt (bytes, start, width) {
  let number = 0
  for (let at = start; at < start + width; at++) number = number * 10 + /** @type {number} */ (bytes[at]) - 48
  return number
}

answerCalls({
  /** Opens streams. Resolves once all are open. */
  async open (/** @type {Address & OpenOptions} */ options) {
    const { chats = 1, from = 0, perChat = 1, stalled = 0, lastEventIds = [], opening = 200 } = options
    let opened = 0
    const lanes = Array.from({ length: opening }, async () => {
      while (opened < chats * perChat) {
        const index = opened++
        const chat = from + index % chats
        const client = new Client()
        clients.add(client)
        await client.connect(options, `chat${chat}`, Math.floor(index / chats) < stalled, lastEventIds[chat])
      }
    })
    await Promise.all(lanes)
  },

  /** Returns the event id with which the stream of each chat started. */
  lastEventIds: () => [...clients].map(({ greeting }) => /^id: (\S+)$/m.exec(greeting)?.[1]),

  /** Resolves once `count` events have arrived since the last call. Rejects after `seconds`. */
  expect (/** @type {number} */ count, /** @type {number} */ seconds = 60) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`Got ${received} of ${count} events`)), seconds * 1000)
      progress = () => {
        if (failure === undefined && received < count) return
        clearTimeout(timer)
        progress = () => {}
        if (failure !== undefined) return reject(new Error(failure))
        if (received > count) return reject(new Error(`Got ${received} events instead of ${count}`))
        resolve({ reads })
        received = reads = 0
      }
      progress()
    })
  },

  /** Starts to record the latencies of events. */
  watch () {
    latencies = []
  },

  /** Returns percentiles of the recorded latencies in milliseconds. */
  latencies () {
    const sorted = Float64Array.from(latencies ?? []).sort()
    latencies = undefined
    const at = (/** @type {number} */ share) => /** @type {number} */ (sorted[Math.floor(sorted.length * share)]) / 1000
    return { p50: at(0.5), p99: at(0.99) }
  },

  /** Closes all connections but the first `kept`. A reset leaves no entries in the tables of the kernel. */
  close (/** @type {number} */ kept = 0) {
    for (const client of [...clients].slice(kept)) {
      client.socket?.removeAllListeners('close').resetAndDestroy()
      clients.delete(client)
    }
    received = reads = 0
  }
})
