// @ts-check
import { Agent, request } from 'node:http'
import { makeEvent } from './event.js'

/**
 * Publishes over HTTP, one request after the other.
 * @param {number} port
 * @param {string} path `:chat` stands for the id of a chat.
 * @returns {(plan: import('./server.js').Plan) => Promise<void>}
 */
export function publishByPost (port, path) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  let number = 0
  return async ({ ticks }) => {
    for (let tick = 0; tick < ticks; tick++) {
      const event = makeEvent('chat0', number++)
      await post({ agent, port, host: '127.0.0.1', path: path.replace(':chat', 'chat0') }, JSON.stringify(event))
    }
  }
}

/**
 * @param {import('node:http').RequestOptions} options
 * @param {string} body
 * @returns {Promise<void>}
 */
function post (options, body) {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    request({ ...options, headers, method: 'POST' }, (response) => {
      response.resume().once('end', () => {
        const { statusCode = 0 } = response
        if (statusCode >= 200 && statusCode < 300) resolve()
        else reject(new Error(`The answer to a POST had the status ${statusCode}`))
      })
    }).once('error', reject).end(body)
  })
}
