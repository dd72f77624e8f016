import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyReply } from 'fastify'
import { ReplySse } from './reply-sse.ts'

/**
 * The diagnostics channel on which Fastify publishes errors of route handlers. Fastify calls no hook for the error of a
 * hijacked reply, so this is the only way to observe it.
 */
const HANDLER_ERROR = 'tracing:fastify.request.handler:error'

/** A message of that channel. `async` is true if the handler returned a promise. */
interface FailedHandler { reply: FastifyReply, error: unknown, async: boolean }

/** The number of apps in this process that use the channel. They share one subscription. */
let apps = 0

/** Ends the stream of a reply when its route handler throws. Returns a function that unsubscribes. */
export function endStreamsOfFailedHandlers (): () => void {
  if (apps++ === 0) subscribe(HANDLER_ERROR, onHandlerError)
  return () => { if (--apps === 0) unsubscribe(HANDLER_ERROR, onHandlerError) }
}

function onHandlerError (message: unknown): void {
  const { reply, error, async } = message as FailedHandler // Fastify documents this type.
  // Another plugin may have replaced `reply.sse`, and it is not set if the `onRequest` hook did not run.
  if (!(reply.sse instanceof ReplySse) || !reply.sse.opened) return
  reply.sse.close()
  if (async) return // Fastify logs the error.
  try {
    reply.log.error({ err: error }, 'A handler failed while its reply was streaming')
  } catch {
    // The app's logger threw. An exception in a diagnostics subscriber would end the process.
  }
}
