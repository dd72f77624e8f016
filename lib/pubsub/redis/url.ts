import { RealtimeError, kindOf } from '../../errors.ts'

/**
 * Returns the URL as it is, if ioredis can connect to it. Throws `RT_REDIS_URL_INVALID`, which says what is wrong
 * and never holds the URL, since passwords stand in it.
 */
export function checkRedisUrl (value: unknown): string {
  const wrong = (what: string): RealtimeError => new RealtimeError('RT_REDIS_URL_INVALID', what)
  if (typeof value !== 'string' || value === '') throw wrong(`must be a string that is not empty, got ${kindOf(value)}`)
  // `URL` would forgive blanks and capital letters, and ioredis would not.
  if (!/^rediss?:\/\//.test(value)) throw wrong('must start with redis:// or rediss://')
  if (/\s/.test(value) || !URL.canParse(value)) throw wrong('is malformed')
  const url = new URL(value)
  if (url.hostname === '') throw wrong('names no host')
  if (url.port === '0') throw wrong('names port 0')
  if (!/^(\/\d{0,5})?$/.test(url.pathname)) throw wrong('must name its database by a number')
  // ioredis would take any of its options from there, over those that we rely on.
  if (url.search !== '' || url.hash !== '') throw wrong('must have nothing behind ? or #; pass a client in the option redis for more')
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
