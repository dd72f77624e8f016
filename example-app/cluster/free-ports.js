// @ts-check
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Below the ports that kernels use for outgoing connections: a client that retries one of those may connect to itself.
 */
const LOWEST = 20_000
const HIGHEST = 32_767

/**
 * Free ports on the loopback interface. All are held until the last one is found, so that they differ.
 *
 * @param {number} count
 */
export async function freePorts (count) {
  /** @type {Map<number, import('node:net').Server>} */
  const held = new Map()
  while (held.size < count) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1))
    const server = createServer().listen(port, '127.0.0.1')
    await once(server, 'listening').then(() => held.set(port, server), () => { /* taken */ })
  }
  await Promise.all([...held.values()].map((server) => once(server.close(), 'close')))
  return [...held.keys()]
}
