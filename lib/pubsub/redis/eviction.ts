import type { Logger } from '../../core/logger.ts'
import { isCluster, type RedisClient } from './client.ts'

/** Returns a field of a reply of INFO, or `undefined`. */
export function infoField (info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1]
}

/**
 * Returns the policy by which Redis deletes keys before they expire, or `undefined` if it deletes none. `info` is the
 * reply of `INFO memory`.
 */
export function evictionPolicy (info: string): string | undefined {
  const policy = infoField(info, 'maxmemory_policy')
  // Without a limit, the policy has no effect.
  const isLimited = Number(infoField(info, 'maxmemory')) > 0
  return isLimited && policy !== 'noeviction' ? policy : undefined
}

/**
 * Logs a warning if Redis may delete logs before they expire. Reads the policy once, when the client is ready. A Redis
 * user without the right to read it causes no failure. Returns a function that stops waiting.
 */
export function warnIfEvicting (client: RedisClient, log: Logger): () => void {
  const look = async (): Promise<void> => {
    const nodes = isCluster(client) ? client.nodes('master') : [client]
    const infos = await Promise.all(nodes.map((node) => node.info('memory')))
    const policy = infos.map(evictionPolicy).find((found) => found !== undefined)
    if (policy === undefined) return
    log.warn({ policy }, 'Redis deletes keys when its memory is full (maxmemory-policy), and with them the events of ' +
      'chats and the records that prevent duplicates: set maxmemory-policy to noeviction')
  }
  const onReady = (): void => { look().catch(() => {}) }
  if (client.status === 'ready') onReady()
  else client.once('ready', onReady)
  return () => client.off('ready', onReady)
}
