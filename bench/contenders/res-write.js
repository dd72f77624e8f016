// @ts-check
import { createServer } from 'node:http'
import { Chats } from './chats.js'
import { listen } from './listen.js'

/**
 * Code that an app would write by hand: the event is encoded once, then written to each response of node:http. With
 * `greets`, each stream begins with an event.
 * @param {{ greets?: boolean }} options
 */
export default async function start ({ greets = false }) {
  /** @type {Chats<import('node:http').ServerResponse>} */
  const chats = new Chats()
  const server = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    if (greets) response.write('retry: 2000\nevent: ready\ndata: {}\n\n')
    else response.flushHeaders()
    response.on('close', chats.enter(String(request.url).slice(1), response))
  })
  let id = 0
  return {
    port: await listen(server),
    path: '/:chat',
    ...greets && { ready: 'event: ready' },
    publish (/** @type {string} */ chatId, /** @type {object} */ event) {
      const frame = `id: ${++id}\nevent: message\ndata: ${JSON.stringify(event)}\n\n`
      for (const response of chats.in(chatId)) response.write(frame)
    }
  }
}
