// @ts-check
import { Redis } from 'ioredis'
import { isOnPath, startDaemon } from './daemon.js'
import { freePort } from './free-port.js'

/** Why there is no Redis to be had, if so. */
export function redisIsMissing () {
  return isOnPath('redis-server') ? undefined : 'redis-server is not installed'
}

/** A Redis that keeps nothing on disk. */
export async function startRedis () {
  const port = await freePort()
  const daemon = await startDaemon('redis-server', () => ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--loglevel', 'warning'], port)
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
