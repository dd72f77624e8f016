import t, { type Test } from 'tap'
import { pino } from 'pino'
import { startApp } from '../support/app.ts'
import { EventStream, type StreamEvent } from '../support/event-stream.ts'
import { keepLog, type LogLine } from '../support/log.ts'
import { client, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

t.setTimeout(120_000)

/** An app over a Redis that closes a connection whose unsent replies exceed the limit, and the app's log. */
async function start (t: Test, limit: string) {
  const { url: redisUrl } = await startRedis(t, ['--client-output-buffer-limit', `normal ${limit} 0 0`])
  const { log, lines, line } = keepLog()
  const { app, url } = await startApp(t, { redisUrl }, { server: { loggerInstance: log as ReturnType<typeof pino> } })
  const publish = async (chatId: string, count: number, bytes: number): Promise<(string | undefined)[]> => {
    const text = 'x'.repeat(bytes)
    const numbers = Array.from({ length: count }, (_, index) => index + 1)
    const published = await Promise.all(numbers.map((n) => app.chatEvents.emitChatMessage(chatId, { n, text })))
    return published.map(({ id }) => id)
  }
  const open = (chatId: string, query = '', id?: string): Promise<EventStream> => {
    const headers = id === undefined ? {} : { headers: { 'last-event-id': id } }
    return EventStream.open(t, `${url}/api/chats/${chatId}/events${query}`, headers)
  }
  const warnings = (): LogLine[] => lines.filter(({ level }) => level >= 40)
  /** How many connections Redis has accepted until now. */
  const admin = client(t, redisUrl)
  const connections = async (): Promise<number> =>
    Number(/total_connections_received:(\d+)/.exec(await admin.info('stats'))?.[1])
  return { publish, open, warnings, line, connections }
}

const numbers = (events: StreamEvent[]): number[] => {
  return events.map(({ data }) => (data as { message: { n: number } }).message.n)
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

t.test('a rewind and a resume deliver every event, even far more than the output limit of Redis', async (t) => {
  const { publish, open, warnings, connections } = await start(t, '2mb')
  const ids = await publish('c', 300, 60_000)
  const before = await connections()
  const streams = [await open('c', '?rewind=300'), await open('c', '', ids[0]), await open('c', '', ids[9])]
  for (const [index, from] of [1, 2, 11].entries()) {
    const stream = streams[index] as EventStream
    t.match(await stream.next(), { event: 'ready' })
    t.same(numbers(await stream.take(301 - from)), range(from, 300))
  }
  t.ok(await connections() - before <= 1, 'no connection was lost')
  t.same(warnings(), [])
})

t.test('many chats that are read at once ask for less than the output limit of Redis', async (t) => {
  const { publish, open, warnings, connections } = await start(t, '2mb')
  const chats = range(1, 80).map(String)
  for (const chatId of chats) await publish(chatId, 2, 60_000)
  await (await open('first')).next()
  const before = await connections()
  const streams = await Promise.all(chats.map((chatId) => open(chatId, '?rewind=2')))
  for (const stream of streams) {
    t.match(await stream.next(), { event: 'ready' })
    t.same(numbers(await stream.take(2)), [1, 2])
  }
  t.ok(await connections() - before <= 1, 'no connection was lost')
  t.same(warnings(), [])
})

t.test('if one event exceeds the output limit of Redis, one log line names the chat and the cause', async (t) => {
  const { publish, open, warnings, line, connections } = await start(t, '40kb')
  await publish('large', 3, 60_000)
  await publish('small', 3, 10)
  const stream = await open('large', '?rewind=3')
  const stuck = await line('The log of a chat cannot be read, not even one event at a time, trying again. ' +
    'If Redis closes the connection, the event may be larger than its client-output-buffer-limit')
  t.match(stuck, { level: 40, chatId: 'large', reason: /cannot be read/ })
  // The read is retried, ever later: the line needs a connection that breaks.
  const before = await connections()
  await until(connections, (count) => count >= before + 2)
  t.equal(warnings().filter(({ msg }) => msg === stuck.msg).length, 1)
  t.ok(warnings().length <= 6, `${warnings().length} lines`)
  // Other chats are read, and new events arrive.
  const other = await open('small', '?rewind=3')
  t.match(await other.next(), { event: 'ready' })
  t.same(numbers(await other.take(3)), [1, 2, 3])
  stream.close()
})
