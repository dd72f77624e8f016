/** A relay alone, as a worker has it. */
import { ChatEvents, RedisPubSub } from 'fastify-realtime'
import { pino } from 'pino'
import { openRedis, outbox, pool } from './app.js'

const log = pino({ level: 'silent' })
const redis = openRedis()
const { history, ...options } = JSON.parse(process.env.REALTIME ?? '{}')
const pubsub = new RedisPubSub({ client: redis, history, log, ...options })
const chatEvents = new ChatEvents(pubsub, { history, log })
const relay = outbox.startRelay({ chatEvents, log })

process.once('SIGTERM', async () => {
  await relay.stop()
  chatEvents.close()
  await pubsub.close()
  redis.disconnect()
  await pool.end()
})
process.send(0)
process.disconnect()
