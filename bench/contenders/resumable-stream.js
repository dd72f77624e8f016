// @ts-check
import { once } from 'node:events'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { createResumableStreamContext } from 'resumable-stream/ioredis'
import { answer, DONE, frameOf, releaseAnswers } from '../answer.js'
import { listen } from './listen.js'

/**
 * Answers as streams of SSE frames, which the package keeps in the memory of the instance that produces them.
 * @param {{ redisUrl: string }} options
 */
export default async function start ({ redisUrl }) {
  const app = Fastify()
  const context = createResumableStreamContext({
    waitUntil: null, publisher: new Redis(redisUrl), subscriber: new Redis(redisUrl)
  })
  app.post('/answers/:id', async (/** @type {any} */ { params: { id }, query }, reply) => {
    const stream = await context.createNewResumableStream(id, () => answer(id, query).pipeThrough(framing()))
    await send(stream, reply)
  })
  app.get('/answers/:id', async (/** @type {any} */ { params: { id } }, reply) => {
    await send(await context.resumeExistingStream(id), reply)
  })
  return { port: await listen(app), path: '/answers', functions: { releaseAnswers } }
}

/** As the AI SDK writes chunks. */
function framing () {
  return new TransformStream({
    transform: (chunk, controller) => controller.enqueue(frameOf(chunk)),
    flush: (controller) => controller.enqueue(DONE)
  })
}

/**
 * Writes to the response itself, which costs less than a stream of Fastify.
 * @param {ReadableStream<string> | null | undefined} stream
 * @param {import('fastify').FastifyReply} reply
 */
async function send (stream, reply) {
  if (stream === null || stream === undefined) return await reply.code(204).send()
  reply.hijack()
  reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
  for await (const text of stream) if (!reply.raw.write(text)) await once(reply.raw, 'drain')
  reply.raw.end()
}
