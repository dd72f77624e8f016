import type { Test } from 'tap'
import type { Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import {
  createRealtimeClient, type ChatOptions, type RealtimeClient, type RealtimeClientOptions, type Refusal, type Reset
} from '../../../lib/client/index.ts'
import { startApp } from '../../support/app.ts'
import { until } from '../../support/until.ts'
import { FakeLocks } from '../../support/fake-locks.ts'

/** Makes this process a browser, as far as sharing goes, for the time of a test. */
export function becomeBrowser (t: Test): void {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator')
  Object.defineProperty(globalThis, 'navigator', { value: { locks: new FakeLocks() }, configurable: true })
  t.teardown(() => {
    if (before === undefined) Reflect.deleteProperty(globalThis, 'navigator')
    else Object.defineProperty(globalThis, 'navigator', before)
  })
}

/** Takes over from the leading tab. Messages posted to the channel reach the other tabs as that tab's. */
export function lead (t: Test, url: string): FakeTab {
  const name = `fastify-realtime ${url}/api ada`
  const done = new AbortController()
  t.teardown(() => done.abort())
  locksHere().request(name, done, () => {
    return new Promise((resolve) => done.signal.addEventListener('abort', () => resolve()))
  }).catch(() => {})
  return new FakeTab(t, name, 'leader')
}

export const locksHere = (): FakeLocks => (globalThis as unknown as { navigator: { locks: FakeLocks } }).navigator.locks

/** A simulated tab: only its messages to the other tabs exist. */
export class FakeTab {
  readonly heard: { type: string, from: string, wanted?: unknown }[] = []
  readonly #channel: InstanceType<typeof BroadcastChannel>
  readonly #name: string

  constructor (t: Test, channel: string, name: string) {
    this.#name = name
    this.#channel = new BroadcastChannel(channel)
    this.#channel.onmessage = (event: unknown) => {
      this.heard.push((event as { data: { type: string, from: string } }).data)
    }
    t.teardown(() => this.#channel.close())
  }

  postMessage (message: object): void {
    this.#channel.postMessage({ from: this.#name, ...message })
  }

  postAnything (data: unknown): void {
    this.#channel.postMessage(data)
  }

  async hears (type: string, count = 1): Promise<void> {
    await until(async () => this.heard.filter((message) => message.type === type).length, (times) => times >= count)
  }
}

export class Tab {
  readonly client: RealtimeClient
  readonly refusals: Refusal[] = []
  readonly resets: Reset[] = []

  constructor (t: Test, url: string, options: RealtimeClientOptions = {}) {
    this.client = createRealtimeClient({ url: `${url}/api`, share: 'ada', ...options })
    this.client.onRefused((refusal) => { this.refusals.push(refusal) })
    t.teardown(() => this.client.close())
  }

  open (id: string, options?: ChatOptions): {
    numbers: number[]
    has: (last: number) => Promise<void>
    ready: () => Promise<void>
    close: () => void
  } {
    const chat = this.client.chat(id, options)
    const numbers: number[] = []
    chat.on('message', ({ message }) => { numbers.push((message as { n: number }).n) })
    chat.onReset((reset) => { this.resets.push(reset) })
    return {
      numbers,
      has: (last) => until(async () => numbers.at(-1), (n) => n === last),
      ready: () => until(async () => chat.lastEventId, (id) => id !== undefined),
      close: () => chat.close()
    }
  }
}

export const publish = async (app: FastifyInstance, chatId: string, ...numbers: number[]): Promise<void> => {
  await Promise.all(numbers.map((n) => app.chatEvents.emitChatMessage(chatId, { n })))
}

/** How many streams are open. */
export const streams = (app: FastifyInstance, count: number): Promise<void> =>
  until(
    () => new Promise<number>((resolve) => {
      (app.server as Server).getConnections((_error, connections) => resolve(connections))
    }),
    (connections) => connections === count
  )

/** An app that closes the connections of ended streams, so that connections can be counted as streams. */
export const start = (t: Test, options = {}): ReturnType<typeof startApp> => {
  return startApp(t, { retryMs: 1, ...options }, {
    setup: (app) => app.addHook('onRequest', async (_request, reply) => { reply.header('connection', 'close') })
  })
}
