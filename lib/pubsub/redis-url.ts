import { RealtimeError, kindOf } from '../errors.ts'

/**
 * Returns the URL as it is, if ioredis can connect to it. Throws `RT_REDIS_URL_INVALID`, which says what is wrong
 * and never holds the URL, since passwords stand in it.
 */
export function checkRedisUrl (value: unknown): string {
  const wrong = (what: string): RealtimeError => new RealtimeError('RT_REDIS_URL_INVALID', what)
  if (typeof value !== 'string' || value === '') throw wrong(`must be a string that is not empty, got ${kindOf(value)}`)
  if (!URL.canParse(value)) throw wrong('is malformed')
  const url = new URL(value)
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') throw wrong('must start with redis:// or rediss://')
  if (url.hostname === '') throw wrong('names no host')
  if (!/^(\/\d*)?$/.test(url.pathname)) throw wrong('must name its database by a number')
  // ioredis decodes them and would throw an error that holds them.
  if (!isDecodable(url.username) || !isDecodable(url.password)) throw wrong('must percent-encode its user and password')
  return value
}

function isDecodable (text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}
