// @ts-check
import { createServer } from 'node:http'
import { createChannel, createSession } from 'better-sse'
import { listen } from './listen.js'

/** better-sse has channels: each chat is one, and an event is broadcast to it as an object. */
export default async function start () {
  /** @type {Map<string, import('better-sse').Channel>} */
  const channels = new Map()
  const channelOf = (/** @type {string} */ chatId) => {
    const channel = channels.get(chatId) ?? createChannel()
    channels.set(chatId, channel)
    return channel
  }
  const server = createServer(async (request, response) => {
    channelOf(String(request.url).slice(1)).register(await createSession(request, response))
  })
  let id = 0
  return {
    port: await listen(server),
    path: '/:chat',
    publish (/** @type {string} */ chatId, /** @type {object} */ event) {
      channelOf(chatId).broadcast(event, 'message', { eventId: String(++id) })
    }
  }
}
