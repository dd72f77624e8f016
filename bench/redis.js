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

    /** Returns its CPU time so far in µs, the calls of commands that publish, and the bytes of its memory. */
    async statistics () {
      const info = await client.info('everything')
      const number = (/** @type {string} */ name) =>
        Number(new RegExp(`^${name}[:=]([\\d.]+)`, 'm').exec(info)?.[1] ?? 0)
      return {
        cpu: (number('used_cpu_user') + number('used_cpu_sys')) * 1e6,
        commands: number('cmdstat_evalsha:calls') + number('cmdstat_publish:calls'),
        memory: number('used_memory')
      }
    },

    async stop () {
      client.disconnect()
      await daemon.stop()
    }
  }
}
