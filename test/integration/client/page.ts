import type { Test } from 'tap'
import { once } from 'node:events'
import type { Server } from 'node:http'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import {
  createRealtimeClient, type ChatOptions, type ClientState, type RealtimeChat, type RealtimeClient,
  type RealtimeClientOptions, type Refusal, type Reset
} from '../../../lib/client/index.ts'
import { until } from '../../support/until.ts'

/** A client, and what it reported. */
export class Page {
  readonly client: RealtimeClient
  readonly states: ClientState[] = []
  readonly refusals: Refusal[] = []

  constructor (t: Test, url: string, options: RealtimeClientOptions = {}) {
    this.client = createRealtimeClient({ url: `${url}/api`, ...options })
    this.client.onState((state) => { this.states.push(state) })
    this.client.onRefused((refusal) => { this.refusals.push(refusal) })
    t.teardown(() => this.client.close())
  }

  open (id: string, options?: ChatOptions): Seen {
    return new Seen(this.client.chat(id, options))
  }

  async is (state: ClientState): Promise<void> {
    await until(async () => this.client.state, (now) => now === state)
  }
}

/** A chat, and the calls of its handlers. */
export class Seen {
  readonly chat: RealtimeChat
  readonly numbers: number[] = []
  readonly ids: (string | undefined)[] = []
  readonly resets: Reset[] = []

  constructor (chat: RealtimeChat) {
    this.chat = chat
    chat.on('message', ({ message }, { id }) => {
      this.numbers.push((message as { n: number }).n)
      this.ids.push(id)
    })
    chat.onReset((reset) => { this.resets.push(reset) })
  }

  async has (count: number): Promise<void> {
    await until(async () => this.numbers.length, (length) => length >= count)
  }

  /** Resolves once the chat knows its position. */
  async ready (): Promise<void> {
    await until(async () => this.chat.lastEventId, (id) => id !== undefined)
  }
}

export async function publish (app: FastifyInstance, chatId: string, ...numbers: number[]): Promise<string[]> {
  return (await Promise.all(numbers.map((n) => {
    return app.chatEvents.emitChatMessage(chatId, { n })
  }))).map(({ id }) => id as string)
}

/** From now on, the clock is ahead. */
export function skip (t: Test, ms: number): void {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  Date.now = () => now() + ms
}

/** The streams from before were well for long: if one breaks, another stream replaces it, and no poll. */
export const settle = (t: Test): void => skip(t, 6_000)

export const dropAll = (app: FastifyInstance): void => (app.server as Server).closeAllConnections()

/** A server whose responses the test chooses. */
export async function startServer (t: Test, answer: (app: FastifyInstance) => unknown): Promise<string> {
  const app = Fastify()
  t.teardown(() => { app.server.closeAllConnections(); return app.close() })
  await answer(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return `http://127.0.0.1:${(app.server.address() as { port: number }).port}`
}

/** A page that records its requests. */
export class LoggedPage extends Page {
  readonly requests: { url: string, chats: string[], id: string }[]

  constructor (t: Test, url: string, options: RealtimeClientOptions = {}) {
    const requests: LoggedPage['requests'] = []
    super(t, url, {
      ...options,
      fetch: async (url, init) => {
        const id = new Headers(init?.headers).get('last-event-id') ?? ''
        requests.push({ url: String(url), chats: new URL(String(url)).searchParams.getAll('chat'), id })
        return await fetch(url, init)
      }
    })
    this.requests = requests
  }
}

/** A server whose stream of the chats a and b, or of a alone, begins with `ready` and continues with these frames. */
export const startFrames = (t: Test, ...frames: string[]): Promise<string> => startServer(t, (app) => {
  const answer = (ready: string[]) => async (_request: unknown, reply: FastifyReply): Promise<void> => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(`${[...ready, ...frames].join('\n\n')}\n\n`)
    await once(reply.raw, 'close')
  }
  app.get('/api/chats/a/events', answer(['id: e-0-0\nevent: ready\ndata: {}']))
  app.get(
    '/api/chats/events',
    answer(['id: e-0-0.\nevent: ready\ndata: {"chatId":"a"}', 'id: e-0-0.f-0-0\nevent: ready\ndata: {"chatId":"b"}'])
  )
})
