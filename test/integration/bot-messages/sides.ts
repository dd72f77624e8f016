import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { ChatEvents, type PubSubProvider } from '../../../lib/index.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { BotMessageReader } from '../../support/bot-message-reader.ts'
import { EventStream } from '../../support/event-stream.ts'

export const LEASE = 900

export interface Side { app: FastifyInstance, url: string }

/** A client, after its `ready`. */
export async function open (
  t: Test, { url }: Side, chatId = 'c', query = '', lastEventId?: string
): Promise<{ stream: EventStream, reader: BotMessageReader }> {
  const stream = await EventStream.open(
    t,
    `${url}/api/chats/${chatId}/events${query}`,
    lastEventId === undefined ? {} : { headers: { 'last-event-id': lastEventId } }
  )
  const reader = new BotMessageReader()
  reader.take(await stream.next())
  return { stream, reader }
}

export async function * say (...pieces: string[]): AsyncGenerator<string> {
  yield * pieces
}

/** An instance without a server. */
export function instance (t: Test, pubsub: PubSubProvider, options = {}): ChatEvents {
  t.teardown(() => pubsub.close())
  return new ChatEvents(pubsub, {
    log: silentLogger, retryMs: 0, botMessageWindowMs: 0, botMessageLeaseMs: LEASE, ...options
  })
}
