import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { EventStream } from '../../support/event-stream.ts'
import { PresenceReader } from '../../support/presence-reader.ts'
import { until } from '../../support/until.ts'

export interface Side { app: FastifyInstance, url: string }

export const authorize: RealtimeOptions['authorize'] = ({ query }) => {
  const { user } = query as { user?: string }
  return user === undefined ? true : { userId: user }
}

/** A tab of a user, or of a client without a name, after its `ready`. */
export async function open (t: Test, { url }: { url: string }, user?: string, path = '/api/chats/c/events?'): Promise<{
  stream: EventStream
  reader: PresenceReader
  close: () => void
  until: (...users: string[]) => Promise<void>
}> {
  const stream = await EventStream.open(t, `${url}${path}${user === undefined ? '' : `&user=${user}`}`)
  const reader = new PresenceReader()
  await stream.next()
  return { stream, reader, close: () => stream.close(), until: (...users) => reader.until(stream, users) }
}

export async function asked (sides: Side[], users: string[], chatId = 'c'): Promise<void> {
  for (const { app } of sides) {
    await until(() => app.chatEvents.presence(chatId), (present) => present.join() === users.join())
  }
}
