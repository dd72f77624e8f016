// @ts-check
import { createServer } from 'node:net'
import { listen } from './contenders/listen.js'

/** A port that was free a moment ago, for servers that can't say which one they took. */
export async function freePort () {
  const server = createServer()
  const port = await listen(server)
  await new Promise((resolve) => server.close(resolve))
  return port
}
