// @ts-check
import { once } from 'node:events'
import { createServer } from 'node:net'
import { DATA_DIR } from '../database/data-dir.js'
import { openPGlite } from '../database/embedded.js'
import { DatabaseClient } from './database-client.js'

const { pglite, close } = await openPGlite(DATA_DIR)
/** @type {Map<DatabaseClient, Promise<void>>} */
const clients = new Map()

const server = createServer({ noDelay: true }, (socket) => {
  const client = new DatabaseClient(socket, pglite, (notification, from) => {
    for (const other of clients.keys()) if (other !== from) other.send(notification)
  })
  clients.set(client, client.serve().finally(() => clients.delete(client)))
})
server.listen(Number(process.env.PORT), '127.0.0.1')
await once(server, 'listening')
console.log('Ready to accept connections')

process.once('SIGTERM', async () => {
  server.close()
  for (const client of clients.keys()) client.disconnect()
  await Promise.all(clients.values())
  await close()
})
