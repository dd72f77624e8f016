import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { EventStream, type StreamEvent } from '../../support/event-stream.ts'

export const query = (chats: string[], more = ''): string => `${chats.map((chat) => `chat=${chat}`).join('&')}${more}`

export const open = (
  t: Test,
  url: string,
  chats: string[],
  { more = '', id, headers = {} }: { more?: string, id?: string | undefined, headers?: Record<string, string> } = {}
): Promise<EventStream> =>
  EventStream.open(t, `${url}/api/chats/events?${query(chats, more)}`, {
    headers: { ...headers, ...id !== undefined && { 'last-event-id': id } }
  })

export type Data = { chatId: string, resumed?: boolean, reason?: string, message?: { n: number } }
export const dataOf = ({ data }: StreamEvent): Data => data as Data

/** The events of a stream, by chat. */
export function byChat (events: StreamEvent[]): Record<string, unknown[]> {
  const chats: Record<string, unknown[]> = {}
  for (const event of events) {
    const { chatId, resumed, reason, message } = dataOf(event)
    ;(chats[chatId] ??= []).push(message?.n ?? reason ?? resumed)
  }
  return chats
}

export async function publish (app: FastifyInstance, chatId: string, ...numbers: number[]): Promise<string> {
  const receipts = await Promise.all(numbers.map((n) => app.chatEvents.emitChatMessage(chatId, { n })))
  return receipts.at(-1)?.id as string
}
