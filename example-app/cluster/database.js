// @ts-check
import { fileURLToPath } from 'node:url'
import { Child } from './child.js'

const SCRIPT = fileURLToPath(new URL('database-server.js', import.meta.url))

/** A database for this cluster, on a port of the loopback interface. It needs no PostgreSQL on this machine. */
export class DatabaseChild extends Child {
  /** @param {number} port @param {(line: string) => void} print */
  constructor (port, print) {
    super({
      name: 'database',
      command: process.execPath,
      args: [SCRIPT],
      env: { PORT: String(port) },
      readyText: 'Ready to accept connections',
      print
    })
    this.url = `postgres://postgres@127.0.0.1:${port}/postgres`
  }
}
