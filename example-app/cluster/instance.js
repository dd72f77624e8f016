// @ts-check
import { fileURLToPath } from 'node:url'
import { Child } from './child.js'

const SERVER = fileURLToPath(new URL('../server.js', import.meta.url))

/** An instance of the chat. It keeps its port when it is restarted. */
export class Instance extends Child {
  /**
   * @param {string} name
   * @param {number} port
   * @param {{ redisUrl: string, databaseUrl: string }} urls
   * @param {(line: string) => void} print
   */
  constructor (name, port, { redisUrl, databaseUrl }, print) {
    super({
      name,
      command: process.execPath,
      args: [SERVER],
      env: {
        PORT: String(port),
        HOST: '127.0.0.1',
        REDIS_URL: redisUrl,
        DATABASE_URL: databaseUrl,
        INSTANCE_ID: name,
        RESTARTS: '1'
      },
      readyText: 'The chat is open at',
      print
    })
    this.url = `http://127.0.0.1:${port}`
  }
}
