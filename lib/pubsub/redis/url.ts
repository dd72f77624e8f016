import { RealtimeError, kindOf } from '../../errors.ts'

/**
 * Returns the URL unchanged if ioredis can connect to it. Throws `RT_REDIS_URL_INVALID` otherwise. The error names the
 * problem but never contains the URL, which may hold a password.
 */
export function checkRedisUrl (value: unknown): string {
  const wrong = (what: string): RealtimeError => new RealtimeError('RT_REDIS_URL_INVALID', what)
  if (typeof value !== 'string' || value === '') throw wrong(`must be a non-empty string, got ${kindOf(value)}`)
  // `URL` accepts surrounding whitespace and an uppercase scheme, but ioredis does not.
  if (!/^rediss?:\/\//.test(value)) throw wrong('must start with redis:// or rediss://')
  if (/\s/.test(value) || !URL.canParse(value)) throw wrong('is malformed')
  const url = new URL(value)
  if (url.hostname === '') throw wrong('must name a host')
  if (url.port === '0') throw wrong('must not have the port 0')
  if (!/^(\/\d{0,5})?$/.test(url.pathname)) throw wrong('must name its database by a number')
  // ioredis reads options from the query string, which could override options that the plugin relies on.
  if (url.search !== '' || url.hash !== '') {
    throw wrong('must not contain ? or #; for more settings, pass a client as the option redis')
  }
  // ioredis decodes the user and the password, and would throw an error that contains them.
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
