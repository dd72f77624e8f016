// @ts-check
import { buildApp } from './app.js'
import { DATA_DIR } from './database/data-dir.js'

const { PORT = '3000', HOST = '127.0.0.1', LOG_LEVEL = 'warn', REDIS_URL, INSTANCE_ID, RESTARTS } = process.env
const { BOT_PAUSE_MS, BOT_WORD_MS, DATABASE_URL } = process.env

const app = await buildApp({
  database: { url: DATABASE_URL, dataDir: DATA_DIR },
  redisUrl: REDIS_URL,
  // Instances that share a Redis need different names. If none is given, the plugin generates one.
  instanceId: INSTANCE_ID ?? (REDIS_URL === undefined ? 'chat' : undefined),
  botPauseMs: BOT_PAUSE_MS === undefined ? undefined : Number(BOT_PAUSE_MS),
  botWordMs: BOT_WORD_MS === undefined ? undefined : Number(BOT_WORD_MS),
  restarts: RESTARTS === '1',
  logger: { level: LOG_LEVEL }
})

for (const signal of ['SIGINT', 'SIGTERM']) {
  // A second signal ends the process at once. No `process.exit()`: after `close()` nothing keeps the process alive.
  process.once(signal, () => app.close())
}

const url = await app.listen({ port: Number(PORT), host: HOST })
console.log(`The chat is open at ${url} (${REDIS_URL === undefined ? 'one process, without Redis' : 'with Redis'})`)
