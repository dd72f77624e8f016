// @ts-check
import { buildApp } from './app.js'

const { PORT = '3000', HOST = '127.0.0.1', LOG_LEVEL = 'warn', BOT_PAUSE_MS, BOT_WORD_MS, INSTANCE_ID, REDIS_URL, RESTARTS } = process.env

const app = await buildApp({
  redisUrl: REDIS_URL,
  // Alone it can be called anything; no two that share a Redis may have the same name, so there one is made up.
  instanceId: INSTANCE_ID ?? (REDIS_URL === undefined ? 'chat' : undefined),
  botPauseMs: BOT_PAUSE_MS === undefined ? undefined : Number(BOT_PAUSE_MS),
  botWordMs: BOT_WORD_MS === undefined ? undefined : Number(BOT_WORD_MS),
  restarts: RESTARTS === '1',
  logger: { level: LOG_LEVEL }
})

for (const signal of ['SIGINT', 'SIGTERM']) {
  // Once: whoever has no patience sends it again. No `process.exit()`: after `close()` nothing keeps the process.
  process.once(signal, () => app.close())
}

const url = await app.listen({ port: Number(PORT), host: HOST })
console.log(`The chat is open at ${url} (${REDIS_URL === undefined ? 'one process, without Redis' : 'sharing a Redis'})`)
