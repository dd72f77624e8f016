import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyReply } from 'fastify'
import { ReplySse } from './reply-sse.ts'

/** Where Fastify publishes what route handlers throw. It calls no hook for a reply that streams, so this is the only sign. */
const HANDLER_ERROR = 'tracing:fastify.request.handler:error'

/** What Fastify publishes there. `async` says that the handler has returned a promise. */
interface FailedHandler { reply: FastifyReply, error: unknown, async: boolean }

/** How many apps of this process rely on it: they share the channel. */
let apps = 0

/** Ends the stream of a route handler that throws. Returns a function that stops doing so. */
export function endStreamsOfFailedHandlers (): () => void {
  if (apps++ === 0) subscribe(HANDLER_ERROR, onHandlerError)
  return () => { if (--apps === 0) unsubscribe(HANDLER_ERROR, onHandlerError) }
}

function onHandlerError (message: unknown): void {
  const { reply, error, async } = message as FailedHandler // Fastify documents it.
  // Another plugin may have put something else there, and a request that no hook has seen has nothing.
  if (!(reply.sse instanceof ReplySse) || !reply.sse.opened) return
  reply.sse.close()
  if (async) return // Fastify logs it.
  try {
    reply.log.error({ err: error }, 'A handler failed while its reply was streaming')
  } catch {
    // The app's logger throws. From here that would end the process.
  }
}
