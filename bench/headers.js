// @ts-check

/** The headers that a browser sends. Servers may keep them in memory as long as a stream is open. */
export const HEADERS = [
  'host: localhost', 'connection: keep-alive', 'cache-control: no-cache', 'accept-language: en-US,en;q=0.9',
  'user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36',
  'referer: http://localhost/chat', 'accept-encoding: gzip, deflate, br',
  'cookie: session=0123456789abcdef0123456789abcdef'
]
