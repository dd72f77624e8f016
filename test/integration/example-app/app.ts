import type { Test } from 'tap'
import { EventStream, type StreamEvent } from '../../support/event-stream.ts'
import { ExampleApp } from '../../support/example-app.ts'

export interface Answer { status: number, body: { id?: string, code?: string, message?: string } }
export interface Piece {
  id: string
  status: string
  at: number
  text: string
  extra?: { sentAt: string }
  error?: string
}

export const QUICK = { BOT_PAUSE_MS: '0' }

export async function post (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body)
  })
  return { status: response.status, body: await response.json() as Answer['body'] }
}

export function say (app: ExampleApp, chatId: string, text: string): Promise<Answer> {
  return post(`${app.url}/api/chats/${chatId}/messages`, { text, author: 'Ada' })
}

/** The stream of a chat, after its first events. */
export async function follow (t: Test, app: { url: string }, chatId: string): Promise<EventStream> {
  const stream = await EventStream.open(t, `${app.url}/api/chats/${chatId}/events`)
  t.match(await stream.take(2), [
    { event: 'ready', data: { chatId, resumed: false } }, { event: 'presence', data: { users: [] } }
  ])
  return stream
}

export const textOf = ({ data }: StreamEvent): string => (data as { message: { text: string } }).message.text

/** Reads until an event fulfils a condition. Resolves with it. */
export async function find (stream: EventStream, holds: (event: StreamEvent) => boolean): Promise<StreamEvent> {
  for (;;) {
    const event = await stream.next()
    if (holds(event)) return event
  }
}

/** Reads a long answer until it has so many words, or has ended. Resolves with the last event. */
export async function answer (stream: EventStream, words = Infinity): Promise<Piece & { whole: string }> {
  let whole = ''
  const { data } = await find(stream, ({ event, data }) => {
    if (event !== 'bot_message') return false
    const { status, at, text } = data as Piece
    whole = whole.slice(0, at) + text
    return status !== 'streaming' || whole.split(' ').length > words
  })
  return { ...data as Piece, whole }
}
