/**
 * Measures how much memory an instance takes for ten bot messages of 5 MB that it produces, with 100 readers. Fails if
 * that is more than 80 MB. Also prints the peaks meanwhile, which include garbage. Needs redis-server.
 *
 *     npm run soak:bot-messages
 *     npm run soak:bot-messages -- --short
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { get } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import realtimePlugin from '../../dist/index.js'
import { memory, settledHeap } from './heap.js'
import { startRedis } from './redis.js'

const MESSAGES = 10
const READERS = 100
const SIZE = 5_000_000
const STEP = 50_000
/** Megabytes of heap and external memory. */
const BOUND = 80

/** A text of one byte a character, one that takes more in memory than in UTF-8, and chunks. */
const CONTENTS = { ascii: 'word ', emoji: 'wo 😀 ', chunks: 'wo 😀 ' }
/** Each runs in a process of its own, one after the other. */
const CASES = ['redis', 'local'].flatMap((provider) => Object.keys(CONTENTS).map((content) => [provider, content]))
/** They run at the same time, so their peaks say less. */
const SHORT = [['redis', 'chunks'], ['local', 'emoji'], ['local', 'chunks']]

const [,, provider, argument] = process.argv
if (provider === 'readers') read(argument)
else if (argument !== undefined) await measure(provider, argument)
else if (provider === '--short') await Promise.all(SHORT.map(runAlone))
else for (const names of CASES) await runAlone(names)

async function runAlone (names) {
  const child = fork(fileURLToPath(import.meta.url), names, { execArgv: ['--expose-gc'] })
  const [code] = await once(child, 'exit')
  if (code !== 0) process.exitCode = 1
}

async function measure (provider, name) {
  const redis = provider === 'redis' ? await startRedis() : undefined
  const app = Fastify()
  await app.register(realtimePlugin, redis && { redisUrl: redis.url })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const readers = fork(fileURLToPath(import.meta.url), ['readers', app.server.address().port], {
    execArgv: ['--expose-gc']
  })
  await once(readers, 'message')
  const format = name === 'chunks' ? 'chunks' : 'text'
  const before = await settledHeap()
  const start = memory()
  const peak = { heap: 0, rss: 0 }
  const messages = await Promise.all(Array.from({ length: MESSAGES }, (_, n) => {
    return app.chatEvents.startBotMessage(`${n}`, { format })
  }))
  const unit = CONTENTS[name]
  const text = unit.repeat(STEP / Buffer.byteLength(unit))
  for (let size = 0; size < SIZE; size += STEP) {
    for (const message of messages) await append(message, format, text)
    // About as fast as Redis takes it.
    await delay(20)
    const { heap, rss } = memory()
    peak.heap = Math.max(peak.heap, heap - before)
    peak.rss = Math.max(peak.rss, rss - start.rss)
  }
  const grown = (await settledHeap() - before) / 1e6
  console.log(`${provider}, ${MESSAGES} bot messages of ${SIZE / 1e6} MB (${name}), ${READERS} readers: ` +
    `${grown.toFixed(1)} MB\n` +
    `  at its peak ${(peak.heap / 1e6).toFixed(1)} MB of heap and ${(peak.rss / 1e6).toFixed(1)} MB resident`)
  if (grown > BOUND) {
    console.error(`More than ${BOUND} MB`)
    process.exitCode = 1
  }
  await Promise.all(messages.map((message) => message.finish()))
  readers.kill()
  await app.close()
  redis?.child.kill()
}

async function append (message, format, text) {
  if (format === 'text') return await message.append(text)
  for (let at = 0; at < text.length; at += 100) await message.append({ type: 'delta', text: text.slice(at, at + 100) })
}

/** Reads all chats, each with some streams, and reconnects like a browser. */
function read (port) {
  let open = 0
  for (let n = 0; n < READERS; n++) {
    const connect = () => get(`http://127.0.0.1:${port}/api/chats/${n % MESSAGES}/events`, (response) => {
      response.resume().once('close', () => setTimeout(connect, 100))
      if (++open === READERS) process.send('open')
    }).on('error', () => setTimeout(connect, 100))
    connect()
  }
}
