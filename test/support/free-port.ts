import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Below the ports that kernels give to outgoing connections: a client that retries would sooner or later be given the
 * very port it dials.
 */
const LOWEST = 20_000
const HIGHEST = 32_767

/** A loopback port on which nothing listens, and which no other test is given while this process runs. */
export async function freePort (): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1))
    if (await isFree(port) && await reserve(port)) return port
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

/**
 * Takes the UDP port of the same number, which nothing here uses: the kernel gives it to one process, until that ends.
 */
export async function reserve (port: number): Promise<boolean> {
  const socket = createSocket('udp4')
  socket.bind({ port, address: '127.0.0.1', exclusive: true })
  try {
    await once(socket, 'listening')
  } catch {
    return false
  }
  socket.unref()
  return true
}
