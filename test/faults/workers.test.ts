import { once } from 'node:events'
import { request, type IncomingMessage, type RequestOptions } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startApp } from '../support/app.ts'
import { EventStream, type StreamEvent } from '../support/event-stream.ts'
import { startRedis } from '../support/redis.ts'
import { Document, startSnippet } from '../support/snippets.ts'
import { until } from '../support/until.ts'
import { HoppingClient, judge, unreported } from './hopping-client.ts'

const CLIENTS = 20
const [guide] = (await Document.read('docs/scaling.md')).snippets('With `node:cluster`')

/** The two workers of the guide's snippet, behind one port. */
class Workers {
  readonly url: string
  readonly pid: number
  readonly redisUrl: string

  private constructor (url: string, pid: number, redisUrl: string) {
    this.url = url
    this.pid = pid
    this.redisUrl = redisUrl
  }

  static async start (t: Test): Promise<Workers> {
    const { url: redisUrl } = await startRedis(t)
    const { url, pid } = await startSnippet(t, guide, { env: { WORKERS: '2', REDIS_URL: redisUrl } })
    const workers = new Workers(url, pid, redisUrl)
    await workers.bothListen()
    return workers
  }

  /** Sends a request on a connection of its own, so that the next worker gets it. */
  async send (path: string, options: RequestOptions = {}, body?: object): Promise<{ worker: number, body: string }> {
    const sent = request(`${this.url}${path}`, { agent: false, ...options })
    const responded = once(sent, 'response') as Promise<[IncomingMessage]>
    sent.end(body && JSON.stringify(body))
    const [response] = await responded
    if (response.statusCode !== 200) throw new Error(`Got ${response.statusCode}`)
    return { worker: Number(response.headers['x-worker']), body: await text(response) }
  }

  publish (by: string, n: number): ReturnType<Workers['send']> {
    return this.send('/messages', { method: 'POST', headers: { 'content-type': 'application/json' } }, { by, n })
  }

  /** Publishes events, one after another, until `done`. Returns how many. */
  async publishUntil (by: string, done: Promise<unknown>): Promise<number> {
    const stopping = new AbortController()
    const stop = (): void => stopping.abort()
    done.then(stop, stop)
    let n = 0
    while (!stopping.signal.aborted) {
      await this.publish(by, ++n)
      // A browser sends so much at most, and the workers share a machine with the test.
      await delay(5)
    }
    await done
    return n
  }

  /** Resolves with the process ids of both workers, once two other than these listen. */
  async bothListen (except: readonly number[] = []): Promise<number[]> {
    const seen = new Set<number>()
    await until(async () => {
      const { worker } = await this.send('/api/chats/general/history')
      return except.includes(worker) ? seen : seen.add(worker)
    }, ({ size }) => size === 2)
    return [...seen]
  }
}

/** Clients of the chat, each of which has a position. */
async function crowdOf (t: Test, url: string): Promise<HoppingClient[]> {
  const clients = Array.from({ length: CLIENTS }, () => new HoppingClient('general', () => url))
  t.teardown(() => { for (const client of clients) client.close() })
  await Promise.all(clients.map((client) => client.ready(AbortSignal.timeout(30_000))))
  return clients
}

/** Each client has all events of the publisher, each once and in order. */
async function hasAll (t: Test, clients: readonly HoppingClient[], by: string, last: number): Promise<void> {
  await Promise.all(clients.map((client) => client.saw(by, last, AbortSignal.timeout(30_000))))
  for (const client of clients) {
    t.match(judge(client), { losses: 0, duplicates: 0, disorders: 0, resets: {} })
    t.equal(unreported(client, by, last), 0)
  }
}

const workers = await Workers.start(t)

t.test('streams spread over both workers, and have what either publishes', async (t) => {
  const streams: EventStream[] = []
  while (streams.length < 6) streams.push(await EventStream.open(t, `${workers.url}/api/chats/general/events`))
  t.equal(new Set(streams.map(({ response }) => response.headers.get('x-worker'))).size, 2)
  for (const stream of streams) t.match(await stream.next(), { event: 'ready' })

  const published = await Promise.all([1, 2].map((n) => workers.publish('either', n)))
  t.equal(new Set(published.map(({ worker }) => worker)).size, 2)
  const ids = published.map(({ body }) => (JSON.parse(body) as { id: string }).id).sort()
  for (const stream of streams) t.same((await stream.take(2)).map(({ id }) => id).sort(), ids)
})

t.test('a client of long polls is served by both workers in turn', async (t) => {
  const { app } = await startApp(t, { redisUrl: workers.redisUrl })
  const seen: unknown[] = []
  const served = new Set<number>()
  let query = ''
  for (let n = 0; n <= 4; n++) {
    const { worker, body } = await workers.send(`/api/chats/general/events${query}`, {
      headers: { accept: 'application/json' }
    })
    const { events, lastEventId } = JSON.parse(body) as { events: StreamEvent[], lastEventId: string }
    served.add(worker)
    seen.push(...events.filter(({ event }) => event === 'message').map(({ data }) => data))
    query = `?lastEventId=${lastEventId}`
    await app.chatEvents.emitChatMessage('general', { n: n + 1 })
  }
  t.equal(served.size, 2)
  t.match(seen, [1, 2, 3, 4].map((n) => ({ message: { n } })))
})

t.test('while one worker after the other is replaced, no request fails and no event is lost', async (t) => {
  const clients = await crowdOf(t, workers.url)
  process.kill(workers.pid, 'SIGHUP')
  const allMoved = until(
    async () => clients.map(({ streams }) => streams),
    (counts) => counts.every((count) => count >= 2)
  )
  const last = await workers.publishUntil('deploy', allMoved)
  await hasAll(t, clients, 'deploy', last)
})

t.test('a worker that is killed is replaced, and its clients resume', async (t) => {
  const [killed] = await workers.bothListen()
  const clients = await crowdOf(t, workers.url)
  const { app } = await startApp(t, { redisUrl: workers.redisUrl })
  process.kill(killed as number, 'SIGKILL')
  for (let n = 1; n <= 20; n++) await app.chatEvents.emitChatMessage('general', { by: 'kill', n })
  await hasAll(t, clients, 'kill', 20)
  const moved = clients.filter(({ streams }) => streams >= 2).length
  t.ok(moved > 0 && moved < CLIENTS, `${moved} clients have moved`)
  t.equal((await workers.bothListen([killed as number])).length, 2)
})
