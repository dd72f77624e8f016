// @ts-check
import { createServer } from 'node:http'
import { Server } from 'socket.io'
import { createAdapter } from '@socket.io/redis-adapter'
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter'
import { Redis } from 'ioredis'
import { listen } from './listen.js'

/** The interval of pings. It is long, since the clients here do not answer pings. */
const HOUR = 3_600_000

/**
 * socket.io over WebSocket: each chat is a room, and an event is emitted to it as an object.
 * @param {{ redisUrl?: string, streams?: boolean }} options
 */
export default async function start ({ redisUrl, streams = false }) {
  const server = createServer()
  const adapter = redisUrl === undefined ? {} : { adapter: adapterFor(redisUrl, streams) }
  const io = new Server(server, { transports: ['websocket'], pingInterval: HOUR, ...adapter })
  io.on('connection', (socket) => { socket.join(String(socket.handshake.query.chat)) })
  return {
    port: await listen(server),
    path: '/socket.io/?EIO=4&transport=websocket&chat=:chat',
    protocol: 'socket.io',
    // The reply to a client that enters the main namespace. `connection` is emitted in the same turn.
    ready: '40{"sid"',
    publish (/** @type {string} */ chatId, /** @type {object} */ event) {
      io.to(chatId).emit('message', event)
    }
  }
}

/**
 * @param {string} url
 * @param {boolean} streams
 * @returns {any}
 */
function adapterFor (url, streams) {
  return streams ? createStreamsAdapter(new Redis(url)) : createAdapter(new Redis(url), new Redis(url))
}
