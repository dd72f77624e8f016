/**
 * One instance of an app whose bot answers over `streamText` of the AI SDK, as a process of its own. AI names the
 * version for requests that name none. Everything else is as in test/support/instance.js. The model is a scripted one:
 * it answers in stages of some words, and waits before each of them until the test releases it.
 */
import { once } from 'node:events'
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import realtimePlugin from 'fastify-realtime'
import { streamUIMessage } from 'fastify-realtime/ai'
import { finishOf, weatherAnswer } from '../../support/weather-answer.js'

const { AI = 'ai7', STAGES = '1', WORDS = '40', REALTIME = '{}' } = process.env
const MODELS = { ai5: 'V2', ai6: 'V3', ai7: 'V4' }
const PACE_MS = 10

/** The bot messages in progress on this instance, by chat. */
const running = new Map()

const app = Fastify()
process.on('unhandledRejection', (error) => { console.error(error); process.exit(70) })
await app.register(realtimePlugin, JSON.parse(REALTIME))

app.addHook('onRequest', async (_request, reply) => { reply.header('x-instance', addressOf(app)) })

app.post('/api/chats', async (request, reply) => {
  const { id } = await start(request.body.id)
  await reply.sse.uiMessage(request.body.id, { id })
})

/** For a page that gets the chunks over the connection of the chat. */
app.post('/api/chats/:chatId/ask', async ({ params, body }) => {
  const { id, started } = await start(params.chatId, body.sdk)
  await started
  return { id }
})

app.post('/api/chats/:chatId/stop', async ({ params, body }) => {
  await app.chatEvents.stopBotMessage(params.chatId, body?.id)
  return { stopped: true }
})

app.post('/release/:chatId', async ({ params }) => {
  running.get(params.chatId).release()
  return {}
})

/** Answers whether the answer in a chat is produced here. */
app.get('/produces/:chatId', async ({ params }) => running.has(params.chatId))

/** Answers with the time at which the signal of the generator has aborted. */
app.get('/aborted/:chatId', async ({ params }) => {
  const { signal } = running.get(params.chatId)
  if (!signal.aborted) await once(signal, 'abort')
  return running.get(params.chatId).abortedAt
})

/** Answers with the UI message to which the stream of the model leads without this package. */
app.get('/undisturbed', async ({ query }) => {
  const model = await load(query.sdk)
  let last
  for await (const message of model.sdk.readUIMessageStream({ stream: answer(model, async () => {}) })) last = message
  return last
})

process.once('SIGTERM', () => { app.close() })
await app.listen({ port: 0, host: '127.0.0.1' })
process.send(app.server.address().port)
process.disconnect()

function addressOf ({ server }) {
  return `http://127.0.0.1:${server.address().port}`
}

/** Loads a version of the AI SDK. */
async function load (name = AI) {
  const version = MODELS[name]
  const { [`MockLanguageModel${version}`]: Model } = await import(`${name}/test`)
  return { sdk: await import(name), version, Model }
}

/**
 * Starts an answer in a chat. Resolves with its id, and a promise that resolves once its bot message has started.
 */
async function start (chatId, sdk) {
  const model = await load(sdk)
  const id = randomUUID()
  const run = new Run()
  running.set(chatId, run)
  const started = new Promise((resolve) => {
    const source = (signal) => {
      run.begin(signal)
      resolve()
      return answer(model, (stage) => run.reaches(stage), signal)
    }
    streamUIMessage(app.chatEvents, chatId, source, { id })
  })
  return { id, started }
}

/** What a test knows of an answer in progress, and how it lets it go on. */
class Run {
  #released = 0
  #wake = () => {}

  begin (signal) {
    this.signal = signal
    signal.addEventListener('abort', () => { this.abortedAt = Date.now() })
  }

  release () {
    this.#released++
    this.#wake()
  }

  /** Resolves once a stage is released. The first one need not be. */
  async reaches (stage) {
    while (this.#released < stage) await new Promise((resolve) => { this.#wake = resolve })
  }
}

function answer ({ sdk, version, Model }, released, signal) {
  const steps = [
    [
      { type: 'reasoning-start', id: 'r' },
      ...Array.from({ length: 10 }, () => ({ type: 'reasoning-delta', id: 'r', delta: 'think. ' })),
      { type: 'reasoning-end', id: 'r' },
      { type: 'tool-call', toolCallId: 'call', toolName: 'weather', input: '{"city":"Oslo","days":[]}' },
      finishOf(version, 'tool-calls')
    ],
    [
      { type: 'source', sourceType: 'url', id: 's', url: 'https://example.org/', title: 'Weather' },
      { type: 'text-start', id: 't' },
      ...words(),
      { type: 'text-end', id: 't' },
      finishOf(version, 'stop')
    ]
  ]
  const model = new Model({
    doStream: async ({ abortSignal }) => {
      return { stream: ReadableStream.from(paced(steps.shift(), released, abortSignal)) }
    }
  })
  return weatherAnswer(sdk, model, signal)
}

/** All stages: each word has six characters. */
function words () {
  return Array.from({ length: STAGES * WORDS }, (_, n) => ({
    type: 'text-delta', id: 't', delta: `w${String(n).padStart(4, '0')} `, stage: Math.floor(n / WORDS)
  }))
}

async function * paced (parts, released, signal) {
  yield { type: 'stream-start', warnings: [] }
  for (const { stage = 0, ...part } of parts) {
    await released(stage)
    await delay(PACE_MS, undefined, { signal })
    yield part
  }
}
