/** A relay alone, as a worker has it. Now and then it is killed between publishing rows and deleting them. */
import { ChatEvents, RedisPubSub } from 'fastify-realtime'
import { pino } from 'pino'
import { outboxOf, query } from './app.js'

const log = pino({ level: 'silent' })
const pubsub = new RedisPubSub({ url: process.env.REDIS_URL, log })
const chatEvents = new ChatEvents(pubsub, { log })
const outbox = outboxOf((sql, params) => {
  if (sql.startsWith('DELETE') && Math.random() < 0.02) process.kill(process.pid, 'SIGKILL')
  return query(sql, params)
})
const relay = outbox.startRelay({ chatEvents, log })

process.once('SIGTERM', async () => {
  await relay.stop()
  chatEvents.close()
  await pubsub.close()
})
process.send(0)
process.disconnect()
