import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below the ports that kernels give to outgoing connections: a client that retries would sooner or later be given the very port it dials. */
const LOWEST = 20_000
const HIGHEST = 32_767

/** A loopback port that nobody listens on now. Another process may take it before you do. */
export async function freePort (): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1))
    if (await isFree(port)) return port
  }
}

async function isFree (port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}
