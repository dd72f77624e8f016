// @ts-check
import { Redis } from 'ioredis'
import { isOnPath, startDaemon } from './daemon.js'
import { freePort } from './free-port.js'

/** Returns why Redis cannot be started here, or `undefined`. */
export function redisIsMissing () {
  return isOnPath('redis-server') ? undefined : 'redis-server is not installed'
}

/** Starts a Redis that stores nothing on disk. */
export async function startRedis () {
  const port = await freePort()
  const options = { port, bind: '127.0.0.1', save: '', appendonly: 'no', loglevel: 'warning' }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  const daemon = await startDaemon('redis-server', () => args, port)
  const client = new Redis(port)
  return {
    url: `redis://127.0.0.1:${port}`,
    client,
    async stop () {
      client.disconnect()
      await daemon.stop()
    }
  }
}
