import type { Redis } from 'ioredis'

const SHA = '0'.repeat(40)

/**
 * The commands that the plugin sends, each with arguments with which it changes nothing: it reads, or fails after Redis
 * has checked the rights of the user. `key` stands for a key with the prefix, `channel` for a channel.
 * docs/reference.md lists the same.
 */
export const commands: Readonly<Record<string, readonly string[]>> = {
  evalsha: [SHA, '1', 'key'],
  eval: ['return 0', '1', 'key'],
  exists: ['key'],
  get: ['key'],
  set: ['key', '', 'XX', 'PX', '1'],
  hmget: ['key', 'field'],
  hset: ['key', 'field', 'value', 'odd'],
  hget: ['key', 'field'],
  hdel: ['key', 'field'],
  hgetall: ['key'],
  del: ['key'],
  xadd: ['key', 'NOMKSTREAM', '*', 'field', 'value'],
  xrange: ['key', '-', '+'],
  xrevrange: ['key', '+', '-'],
  zadd: ['key', 'XX', '1', 'member'],
  zrangebyscore: ['key', '0', '1'],
  zrem: ['key', 'member'],
  pexpire: ['key', '1'],
  time: [],
  publish: ['channel', ''],
  ping: [],
  info: ['server'],
  hello: [],
  client: ['ID']
}

/** Those that only the option `sharded` needs. */
export const shardedCommands: Readonly<Record<string, readonly string[]>> = { spublish: ['channel', ''] }

/** What a Redis user may not do, as rules of an ACL that would allow it. */
export async function missingRights (
  client: Redis, table: Readonly<Record<string, readonly string[]>>, names: { key: string, channel: string }
): Promise<string[]> {
  const missing = await Promise.all(Object.entries(table).map(async ([command, args]) => {
    const given = args.map((arg) => arg === 'key' || arg === 'channel' ? names[arg] : arg)
    try {
      await client.call(command, ...given)
    } catch (error) {
      return ruleFor(command, (error as Error).message) // ioredis rejects with an Error.
    }
  }))
  return [...new Set(missing.filter((rule) => rule !== undefined))]
}

/** Returns the rule that would allow a command, or `undefined` if the error is not about rights. */
export function ruleFor (command: string, message: string): string | undefined {
  if (/unknown command/i.test(message)) return `+${command}`
  if (!message.startsWith('NOPERM')) return undefined
  if (/\bkeys?\b/.test(message)) return '~<keyPrefix>*'
  return /\bchannels?\b/.test(message) ? '&<keyPrefix>*' : `+${command}`
}
