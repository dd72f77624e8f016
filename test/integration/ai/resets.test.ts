import t, { type Test } from 'tap'
import { Redis } from 'ioredis'
import { startApp } from '../../support/app.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import type { Side } from '../bot-messages/sides.ts'
import { dropAll, type Seen } from '../client/page.ts'
import { ask, finish, open, rest, Source, start, stream, text, type Chunks } from './transport.ts'

t.beforeEach(nothingUnhandled)

/** A page that streams a bot message of which it has received nothing, and a Redis that can lose all keys. */
class Searching {
  readonly side: Side
  readonly source = new Source()
  readonly #redis: Redis
  #isOffline = false
  #asked = false
  #chunks!: Promise<Chunks>
  #seen!: Seen

  private constructor (side: Side, redis: Redis) {
    this.side = side
    this.#redis = redis
  }

  static async start (t: Test): Promise<Searching> {
    const server = await RedisServer.start()
    t.teardown(() => server.stop())
    const redis = new Redis(server.url)
    t.teardown(() => { redis.disconnect() })
    const side = await startApp(t, { redisUrl: server.url, botMessageWindowMs: 0, retryMs: 1 })
    const searching = new Searching(side, redis)
    await searching.#search(t)
    return searching
  }

  async #search (t: Test): Promise<void> {
    const { page, transport } = open(t, this.side, () => stream(this.side, this.source, 'm'), {
      fetch: async (...args) => {
        if (this.#isOffline) throw new Error('offline')
        const response = await fetch(...args)
        if (String(args[0]).includes('/bot-messages/m')) this.#asked = true
        return response
      }
    })
    this.#seen = page.open('c')
    let hasBegun = false
    this.#seen.chat.on('bot_message', () => { hasBegun = true })
    this.#chunks = ask(transport)
    await until(async () => this.#asked && hasBegun, (isSearching) => isSearching)
  }

  /** Runs a function while the page is disconnected. */
  async offlineWhile (run: () => Promise<unknown>): Promise<void> {
    this.#isOffline = true
    dropAll(this.side.app)
    await run()
    this.#isOffline = false
  }

  /** Lets the bot message end. */
  async end (): Promise<void> {
    this.source.write(start, text('a'), finish)
    this.source.close()
    await until(() => this.side.app.chatEvents.getBotMessage('c', 'm'), (message) => message?.status === 'finished')
  }

  async isStreaming (): Promise<void> {
    await until(() => this.side.app.chatEvents.getBotMessage('c', 'm'), (message) => message?.status === 'streaming')
  }

  async loseAll (): Promise<void> {
    await this.#redis.flushall()
  }

  async publish (): Promise<void> {
    await this.side.app.chatEvents.emitChatMessage('c', { n: 1 })
  }

  /** Resolves with the chunks that the page gets after it was notified of lost events. */
  async afterReset (): Promise<unknown[]> {
    await until(async () => this.#seen.resets.length, (count) => count > 0)
    return await rest(await this.#chunks)
  }
}

t.test('an answer that has no chunks yet is streamed although Redis loses everything', async (t) => {
  const searching = await Searching.start(t)
  await searching.offlineWhile(async () => {
    await searching.loseAll()
    await searching.publish()
    // Until the producer has restored it, the page would learn that it is lost.
    await searching.isStreaming()
  })
  const received = searching.afterReset()
  await searching.end()
  t.same(await received, [start, text('a'), finish])
})

t.test('a page gets an answer that has ended among lost events', async (t) => {
  const searching = await Searching.start(t)
  await searching.offlineWhile(async () => {
    await searching.loseAll()
    await searching.end()
  })
  t.same(await searching.afterReset(), [start, text('a'), finish])
})

t.test('a page learns that its answer was lost before it has received anything of it', async (t) => {
  const searching = await Searching.start(t)
  await searching.offlineWhile(async () => {
    await searching.end()
    await searching.loseAll()
    await searching.publish()
  })
  t.same(await searching.afterReset(), [{ type: 'error', errorText: 'The bot message was interrupted.' }])
})
