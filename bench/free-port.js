// @ts-check
import { createServer } from 'node:net'
import { listen } from './contenders/listen.js'

/** Resolves with a port that was just free, for servers that cannot report which port they chose. */
export async function freePort () {
  const server = createServer()
  const port = await listen(server)
  await new Promise((resolve) => server.close(resolve))
  return port
}
