/** An instance of the app. It serves the state of a chat, and relays rows of the outbox if it has the lease. */
import Fastify from 'fastify'
import realtimePlugin from 'fastify-realtime'
import { openRedis, outbox, pool } from './app.js'

const app = Fastify()
const redis = openRedis()
app.addHook('onClose', async () => { redis.disconnect(); await pool.end() })
await app.register(realtimePlugin, { redis, outbox, ...JSON.parse(process.env.REALTIME ?? '{}') })

app.get('/state/:chatId', async ({ params: { chatId } }) => {
  // Read before the rows: an event that is published meanwhile is then delivered, whether the rows have it or not.
  const lastEventId = await app.chatEvents.lastEventId(chatId)
  const { rows } = await pool.query('SELECT id, body, version FROM items WHERE chat = $1 ORDER BY id', [chatId])
  return { lastEventId, items: rows }
})

await app.listen({ port: 0, host: '127.0.0.1' })
process.once('SIGTERM', () => app.close())
process.send(app.server.address().port)
process.disconnect()
