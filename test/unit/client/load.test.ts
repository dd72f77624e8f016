import t from 'tap'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createChat, type Chat, type ChatOptions, type Reset } from '../../../lib/client/chat.ts'
import { createTransport } from '../../../lib/client/transport.ts'
import type { LoadContext, LoadResult } from '../../../lib/client/state-loader.ts'
import { lossOf, marker } from '../../../lib/client/stream-event.ts'
import { FakeTimers } from '../../support/fake-timers.ts'
import { turn } from '../../support/turn.ts'

interface Row { row: number, version: number | undefined, text?: string }

/** An event of the log, or the discontinuity marker of a failover. */
interface Entry { tag: number, row?: Row }

/** More than a chat holds. */
const LARGE = 'x'.repeat(2 ** 20)

/** A database, the log of its changes, and streams that read the log. */
class Server {
  readonly rows = new Map<number, number>()
  /** How many streams were opened to catch up. */
  streams = 0
  #epoch = 1
  #log: Entry[] = []
  #version = 0
  #tag = 0
  readonly #open = new Set<(frame: string) => void>()

  id (offset = this.#log.length): string {
    return `e${this.#epoch}-${offset}-${this.#log[offset - 1]?.tag ?? 0}`
  }

  get head (): number {
    return this.#log.length
  }

  write (row: number, { deletes = false, text = '' } = {}): void {
    const version = deletes ? undefined : ++this.#version
    if (version === undefined) this.rows.delete(row)
    else this.rows.set(row, version)
    this.#append({ row, version, text })
  }

  #append (row?: Row): void {
    this.#log.push({ tag: ++this.#tag, ...row && { row } })
    for (const send of this.#open) send(this.#frame(this.#log.length))
  }

  /** Loses the last events, but not their rows. Returns the offset of the last event that is kept. */
  failover (lost: number): number {
    this.#log.splice(Math.max(this.head - lost, 0))
    const kept = this.head
    // The instances of these streams notice it.
    for (const send of this.#open) send(this.#reset('diverged'))
    this.#append()
    return kept
  }

  /** Loses the log. */
  forget (): void {
    this.#epoch++
    this.#log = []
    for (const send of this.#open) send(this.#reset('epoch'))
  }

  /** The event at an offset, as the shared connection passes it to a chat. */
  event (offset: number): Parameters<Chat['receive']>[0] {
    const position = { chatId: 'a', id: this.id(offset), previous: this.id(offset - 1) }
    const row = this.#log[offset - 1]?.row
    return row === undefined
      ? { ...position, event: 'reset', data: { reason: 'failover', certain: false } }
      : { ...position, event: 'message', data: { type: 'message', ...row } }
  }

  readonly fetch = (async (_url: string, { headers }: { headers: Record<string, string> }) => {
    this.streams++
    const id = headers['last-event-id'] ?? this.id()
    const offset = Number(id.split('-')[1])
    const isKnown = offset <= this.head && id === this.id(offset)
    const from = isKnown ? offset : this.head
    let send = (_frame: string): void => {}
    const body = new ReadableStream({
      start: (controller) => {
        send = (frame) => controller.enqueue(new TextEncoder().encode(frame))
        send(`id: ${this.id(from)}\nevent: ready\ndata: {}\n\n`)
        if (!isKnown) send(this.#reset('epoch'))
        for (let next = from + 1; next <= this.head; next++) send(this.#frame(next))
        this.#open.add(send)
      },
      cancel: () => { this.#open.delete(send) }
    })
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }) as unknown as typeof fetch

  #frame (offset: number): string {
    const { event, data, id } = this.event(offset)
    return `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`
  }

  #reset (reason: string): string {
    return `id: ${this.id()}\nevent: reset\ndata: {"reason":"${reason}","certain":true}\n\n`
  }
}

/** A call of `load` that the test settles. */
interface Call extends LoadContext {
  resolve (result: LoadResult): Promise<void>
  reject (): Promise<void>
}

/** A chat with a `load`, and what its handlers got. */
class Reader {
  readonly calls: Call[] = []
  readonly seen: unknown[] = []
  readonly resets: Reset[] = []
  readonly chat: Chat
  running = 0
  closed = 0

  constructor (server: Server, options: ChatOptions = {}) {
    this.chat = createChat('a', {
      load: async (context) => {
        assert.equal(++this.running, 1, 'one call at a time')
        return await new Promise<LoadResult>((resolve, reject) => {
          this.calls.push({
            ...context,
            resolve: async (result) => { this.running--; resolve(result); await turn() },
            reject: async () => { this.running--; reject(new Error('failed')); await turn() }
          })
        })
      },
      ...options
    }, {
      connection: { url: '', headers: undefined, fetch: server.fetch, silenceMs: 45_000, transport: createTransport() },
      refused: () => {},
      closed: () => { this.closed++ }
    })
    this.chat.on('*', (event, { id }) => { this.seen.push(id ?? event.type) })
    this.chat.onReset((reset) => { this.resets.push(reset) })
  }

  get last (): Call {
    return this.calls.at(-1) as Call
  }

  async receive (...events: Parameters<Chat['receive']>): Promise<void> {
    for (const event of events) this.chat.receive(event)
    await turn()
  }

  reset (id: string | undefined, reason = 'epoch'): Promise<void> {
    return this.receive({ chatId: 'a', event: 'reset', id, previous: id, data: { reason, certain: true } })
  }
}

/** A reader whose stream has begun after three events, so that the first call is under way. */
async function start (options?: ChatOptions): Promise<{ server: Server, reader: Reader }> {
  const server = new Server()
  for (const row of [1, 2, 3]) server.write(row)
  const reader = new Reader(server, options)
  await reader.receive(marker('a', server.id()))
  return { server, reader }
}

/** An event of a server without history. */
const live = (type: string, text = ''): Parameters<Chat['receive']>[0] => {
  return { chatId: 'a', event: type, data: { type, text } }
}

const next = async (server: Server, reader: Reader, row = 4, text = ''): Promise<string> => {
  server.write(row, { text })
  await reader.receive(server.event(server.head))
  return server.id()
}

let timers: FakeTimers
/** Returns what was written to the console since the last time. */
let warnings: () => unknown[]
t.beforeEach((t) => {
  timers = new FakeTimers()
  const written = t.capture(console, 'warn', () => {})
  warnings = () => written().map(({ args: [warning] }) => warning)
})

t.test('the state is loaded once the stream has begun, and only the events after it are delivered', async (t) => {
  const { server, reader } = await start()
  await reader.chat.ready
  t.match(reader.calls, [{ reason: 'start' }])
  const loaded = await next(server, reader)
  const later = await next(server, reader)
  await reader.receive({ chatId: 'a', event: 'typing', data: { type: 'typing' } })
  t.same(reader.seen, [], 'no handler is called meanwhile')
  await reader.last.resolve({ lastEventId: loaded })
  t.same(reader.seen, [later, 'typing'])
  t.equal(reader.chat.lastEventId, later)
  await reader.receive(marker('a', later))
  t.same([reader.calls.length, server.streams], [1, 0], 'a resumed stream loads nothing')
})

t.test('events that the state includes are dropped, also where they arrive later', async (t) => {
  const { server, reader } = await start()
  server.write(4)
  await reader.last.resolve({ lastEventId: server.id() })
  await reader.receive(server.event(4))
  const later = await next(server, reader)
  t.same([reader.seen, server.streams], [[later], 0])
})

t.test('without a position, all events since the start are delivered', async (t) => {
  for (const result of [{}, { lastEventId: null }, { lastEventId: '' }, undefined, { lastEventId: 5 }]) {
    const { server, reader } = await start()
    const id = await next(server, reader)
    await reader.last.resolve(result as LoadResult)
    t.same(reader.seen, [id])
  }
})

t.test('a state from before the start of the stream is completed from the log', async (t) => {
  const { server, reader } = await start()
  await reader.last.resolve({ lastEventId: server.id(1) })
  for (let n = 0; n < 5; n++) await turn()
  t.same(reader.seen, [server.id(2), server.id(3)])
})

t.test('a failed call is repeated after a delay with jitter, and events wait', async (t) => {
  const { server, reader } = await start()
  const id = await next(server, reader)
  timers.install()
  t.teardown(() => timers.uninstall())
  for (const [index, least] of [2_000, 4_000, 8_000].entries()) {
    await reader.last.reject()
    t.match(warnings(), [{ message: 'failed' }])
    t.ok((timers.delays[index] as number) >= least && (timers.delays[index] as number) <= least * 1.5)
    t.equal(reader.calls.length, index + 1)
    timers.fire()
    await turn()
    t.equal(reader.calls.length, index + 2)
  }
  t.intercept(Math, 'random', { value: () => 0.5 })
  await reader.last.reject()
  t.equal(timers.delays[3], 16_000 * 1.25, 'half of the most jitter')
  timers.fire()
  await turn()
  await reader.last.resolve({ lastEventId: server.id(3) })
  t.same(reader.seen, [id])
})

t.test('a state from another log is loaded again', async (t) => {
  const { server, reader } = await start()
  timers.install()
  t.teardown(() => timers.uninstall())
  const id = await next(server, reader)
  await reader.last.resolve({ lastEventId: 'other-9-1' })
  t.same([reader.seen, timers.size], [[], 1])
  t.match(warnings(), [{ message: 'lastEventId is of another log' }])
  t.same([reader.resets, server.streams], [[], 0], 'the stream reports the loss')
  server.forget()
  await reader.reset(server.id())
  t.match(reader.calls.map(({ reason }) => reason), ['start', 'epoch'], 'a reset ends the delay')
  await reader.last.resolve({ lastEventId: server.id() })
  const later = await next(server, reader)
  t.same(reader.seen, [later])
  t.not(id, later)
})

t.test('a reset calls its handlers, aborts the call and begins another one when it has ended', async (t) => {
  const { server, reader } = await start()
  await next(server, reader)
  const [first] = reader.calls as [Call]
  await reader.reset(server.id(), 'failover')
  t.match(reader.resets, [{ reason: 'failover' }])
  t.ok(first.signal.aborted)
  t.equal(reader.calls.length, 1, 'the aborted call has not ended')
  await reader.reset(server.id(), 'trimmed')
  const later = await next(server, reader)
  await first.resolve({ lastEventId: server.id(1) })
  t.match(reader.calls.map(({ reason }) => reason), ['start', 'trimmed'])
  await reader.last.resolve({})
  t.same(reader.seen, [later])
  await reader.reset(server.id(), 'failover')
  t.equal(reader.last.reason, 'failover')
})

t.test('a chat that is closed aborts the call, and calls no handler', async (t) => {
  const { server, reader } = await start()
  await next(server, reader)
  reader.chat.close()
  t.ok(reader.last.signal.aborted)
  await reader.last.resolve({})
  await reader.reset(server.id())
  t.same([reader.seen, reader.calls.length, reader.closed], [[], 1, 1])
  const other = await start()
  other.reader.chat.onReset(() => other.reader.chat.close())
  await other.reader.reset(other.server.id())
  await other.reader.last.reject()
  t.equal(other.reader.calls.length, 1)
  t.same(warnings(), [], 'an aborted call is no failure')
})

t.test('with a position, the state is loaded at resets only', async (t) => {
  const server = new Server()
  server.write(1)
  const reader = new Reader(server, { after: server.id(), rewind: 5 })
  const id = await next(server, reader)
  t.same([reader.seen, reader.calls.length], [[id], 0])
  await reader.reset(server.id())
  t.match(reader.calls, [{ reason: 'epoch' }])
  const empty = new Reader(server, { after: '', rewind: 5 })
  t.same(empty.chat.position(), { id: undefined, rewind: 0 })
  await empty.receive(marker('a', server.id()))
  t.match(empty.calls, [{ reason: 'start' }], 'an empty position is none')
})

t.test('a reset of the chat\'s own connection delays the call, and keeps what is newer', async (t) => {
  const server = new Server()
  const reader = new Reader(server, { after: 'old-9-1' })
  server.write(1)
  timers.install()
  t.teardown(() => timers.uninstall())
  await reader.receive(server.event(1))
  for (let n = 0; n < 5; n++) await turn()
  const waits = timers.delays.some((ms) => ms >= 2_000 && ms <= 3_000)
  t.match([reader.resets, reader.calls.length, waits], [[{ reason: 'epoch' }], 0, true])
  timers.fire()
  await turn()
  await reader.last.resolve({ lastEventId: server.id(0) })
  for (let n = 0; n < 5; n++) await turn()
  t.same(reader.seen, [server.id(1)])
})

t.test('a reset of the chat\'s own connection ends it, and keeps an event that only the shared one has', async (t) => {
  const server = new Server()
  const reader = new Reader(server, { after: 'old-9-1' })
  server.write(1)
  timers.install()
  t.teardown(() => timers.uninstall())
  const received = reader.receive(server.event(1))
  while (server.streams === 0) await Promise.resolve()
  server.write(2)
  reader.chat.receive(server.event(2))
  await received
  for (let n = 0; n < 5; n++) await turn()
  t.match([reader.resets, reader.seen], [[{ reason: 'epoch' }], []])
  timers.fire()
  await turn()
  await reader.last.resolve({ lastEventId: server.id(1) })
  t.same([reader.seen, server.streams], [[server.id(2)], 1])
})

t.test('a discontinuity marker among the held events loads the state, and the events after it wait', async (t) => {
  const server = new Server()
  for (const row of [1, 2, 3, 4]) server.write(row)
  const reader = new Reader(server, { after: server.id(2) })
  const [previous, id] = [server.id(3), server.id(4)]
  reader.chat.receive({ chatId: 'a', event: 'reset', id, previous, data: { reason: 'failover', certain: false } })
  const later = await next(server, reader)
  for (let n = 0; n < 5; n++) await turn()
  t.match([reader.seen, reader.calls], [[previous], [{ reason: 'failover' }]])
  t.equal(server.streams, 1, 'nothing is read while the state is loaded')
  await reader.last.resolve({ lastEventId: id })
  t.same(reader.seen, [previous, later])
})

t.test('a handler that closes its chat opens no connection for events that are missing', async (t) => {
  const server = new Server()
  for (const row of [1, 2, 3]) server.write(row)
  const reader = new Reader(server, { after: server.id(0) })
  reader.chat.on('*', () => reader.chat.close())
  await reader.receive(server.event(3))
  for (let n = 0; n < 5; n++) await turn()
  t.same([reader.seen, server.streams], [[server.id(1)], 1])
})

t.test('a server without history: each possible loss loads the state again', async (t) => {
  const server = new Server()
  const reader = new Reader(server)
  await reader.receive(lossOf('a'))
  await reader.receive(marker('a', undefined))
  t.same([reader.resets, reader.calls.length], [[], 1], 'nothing is lost at the start')
  await reader.receive(live('e1'))
  await reader.last.resolve({ lastEventId: 'e-1-1' })
  t.same(reader.seen, ['e1'])
  reader.chat.receive(lossOf('a'))
  await turn()
  await reader.receive(live('e2'))
  await reader.receive(lossOf('a'))
  await reader.receive(live('e3'))
  await reader.last.resolve({})
  await reader.last.resolve({})
  t.same(reader.seen, ['e1', 'e3'])
  t.match(reader.resets, [{ reason: 'no-history' }, { reason: 'no-history' }])
  await reader.receive(marker('a', 'f-1-1'))
  t.equal(reader.chat.lastEventId, 'f-1-1')
})

t.test('more events than can be held are read from the log once the call has ended', async (t) => {
  const { server, reader } = await start()
  const typing = { chatId: 'a', event: 'typing', data: { type: 'typing' } }
  await reader.receive(typing)
  const ids: string[] = []
  for (let n = 0; n < 3; n++) ids.push(await next(server, reader, 4, 'x'.repeat(2 ** 19)))
  // The newest event has no position.
  await reader.receive(typing)
  t.same([reader.last.signal.aborted, reader.calls.length, server.streams], [false, 1, 0])
  await reader.last.resolve({})
  for (let n = 0; n < 5; n++) await turn()
  t.same(reader.seen, ['typing', ...ids], 'the first event without an id was dropped')
  ids.push(await next(server, reader))
  t.same([reader.calls.length, server.streams, reader.seen], [1, 1, ['typing', ...ids]])
})

t.test('the limit counts for all calls until one succeeds, and then anew', async (t) => {
  const { server, reader } = await start()
  timers.install()
  t.teardown(() => timers.uninstall())
  const half = LARGE.slice(2 ** 19)
  await reader.receive(live('dropped'))
  const ids = [await next(server, reader, 4, half)]
  await reader.last.reject()
  timers.fire()
  await turn()
  ids.push(await next(server, reader, 4, half))
  await reader.last.resolve({})
  for (let n = 0; n < 5; n++) await turn()
  t.same(reader.seen, ids)
  for (let n = 0; n < 3; n++) {
    await reader.reset(server.id())
    await reader.receive(live('kept'))
    ids.push('kept', await next(server, reader, 4, half))
    await reader.last.resolve({})
  }
  t.same(reader.seen, ids)
})

t.test('a call is followed by no other one, however many events arrive during it', async (t) => {
  const { server, reader } = await start()
  for (let n = 0; n < 5; n++) await next(server, reader, 4, LARGE)
  const loaded = server.id()
  const ids = [await next(server, reader, 4, LARGE), await next(server, reader, 4, LARGE)]
  await reader.last.resolve({ lastEventId: loaded })
  for (let n = 0; n < 5; n++) await turn()
  t.same([reader.calls.length, reader.seen], [1, ids])
})

t.test('without history, more events than can be held load the state again, after a delay with jitter', async (t) => {
  timers.install()
  t.teardown(() => timers.uninstall())
  const reader = new Reader(new Server())
  await reader.receive(marker('a', undefined))
  for (const [index, least] of [2_000, 4_000, 8_000].entries()) {
    await reader.receive(live('during a call', LARGE))
    await reader.last.resolve({})
    t.match(warnings(), [{ message: 'Too many events' }])
    const delay = timers.delays[index] as number
    t.ok(delay >= least && delay <= least * 1.5)
    await reader.receive(live('during the delay', LARGE))
    await reader.receive(live('during the delay', LARGE))
    t.same([timers.delays.length, reader.calls.length], [index + 1, index + 1], 'the delay goes on')
    timers.fire()
    await turn()
  }
  await reader.receive(live('last'))
  await reader.last.resolve({})
  t.same([reader.calls.length, timers.size, reader.seen], [4, 0, ['during the delay', 'last']])
})

t.test('a chat that is refused aborts the call, and loads its state once the stream has begun again', async (t) => {
  const { server, reader } = await start()
  timers.install()
  t.teardown(() => timers.uninstall())
  await next(server, reader)
  reader.chat.refused()
  t.ok(reader.last.signal.aborted)
  await reader.last.reject()
  await reader.receive(server.event(server.head))
  t.same([reader.calls.length, timers.size, reader.seen], [1, 0, []])
  t.same(reader.chat.position(), { id: server.id(3), rewind: 0 })
  await reader.receive(marker('a', server.id(3)))
  await reader.last.reject()
  t.same([reader.calls.length, timers.size], [2, 1])
  reader.chat.refused()
  await turn()
  t.same([reader.calls.length, timers.size], [2, 0], 'a refusal ends the delay')
  await reader.receive(marker('a', server.id(3)))
  await reader.last.resolve({ lastEventId: server.id() })
  reader.chat.refused()
  const later = await next(server, reader)
  t.same([reader.calls.length, reader.seen], [3, [later]], 'a chat that has its state keeps its position')
})

t.test('without history, events from before a refusal are not delivered', async (t) => {
  const reader = new Reader(new Server())
  await reader.receive(marker('a', undefined))
  await reader.receive(live('old'))
  reader.chat.refused()
  await reader.last.reject()
  await reader.receive(lossOf('a'))
  await reader.receive(marker('a', undefined))
  await reader.receive(live('new'))
  await reader.last.resolve({})
  t.same([reader.calls.length, reader.seen, reader.resets], [2, ['new'], []])
})

t.test('a server that begins to keep a history, or ends to, may have lost events', async (t) => {
  const { server, reader } = await start({ load: undefined })
  await reader.receive(lossOf('a'))
  await reader.receive(marker('a', undefined))
  t.match([reader.resets, reader.chat.lastEventId], [[{ reason: 'no-history' }], undefined])
  await reader.receive(live('without an id'))
  reader.chat.receive(lossOf('a'))
  t.equal(reader.resets.length, 2, 'without a position, each interruption may lose events')
  await reader.receive(marker('a', server.id()))
  t.match(reader.resets[2], { reason: 'no-history', certain: false })
  const id = await next(server, reader)
  await reader.receive(marker('a', id))
  t.same([reader.resets.length, reader.seen], [3, ['without an id', id]])

  const other = new Reader(server, { load: undefined })
  await other.receive(marker('a', undefined))
  const first = await next(server, other)
  t.same([other.seen, other.resets.length], [[first], 1], 'the channel between tabs has lost the position')
})

t.test('a server that begins to keep a history while the state is loaded loads it again', async (t) => {
  const server = new Server()
  const reader = new Reader(server)
  await reader.receive(marker('a', undefined))
  server.write(1)
  await reader.receive(marker('a', server.id()))
  const id = await next(server, reader)
  await reader.last.resolve({})
  t.match([reader.seen, reader.calls.map(({ reason }) => reason)], [[], ['start', 'no-history']])
  await reader.last.resolve({})
  t.same([reader.seen, reader.chat.lastEventId], [[id], id])
})

t.test('a state from a position that a failover has lost is loaded again when the marker arrives', async (t) => {
  const { server, reader } = await start()
  for (const row of [4, 5, 6, 7]) server.write(row)
  const lost = server.id()
  const kept = server.failover(3)
  await reader.last.resolve({ lastEventId: lost })
  for (const offset of [kept, kept + 1]) await reader.receive(server.event(offset))
  t.match([reader.seen, reader.resets], [[], [{ reason: 'failover', certain: false }]])
  const id = await next(server, reader)
  t.equal(Number(id.split('-')[1]) < Number(lost.split('-')[1]), true)
  await reader.last.resolve({ lastEventId: server.id(kept + 1) })
  t.same([reader.calls.length, reader.seen, reader.chat.lastEventId], [2, [id], id])
})

t.test('another event at the offset of the position proves that the position is lost', async (t) => {
  const { server, reader } = await start({ load: undefined, after: 'e1-4-99' })
  await next(server, reader)
  await turn()
  t.match([server.streams, reader.seen, reader.resets], [1, [], [{ reason: 'epoch' }]])
  const id = await next(server, reader)
  t.same(reader.seen, [id])
})

t.test('a marker that was reached by catching up is passed on once, and so are the events after it', async (t) => {
  const { server, reader } = await start({ load: undefined })
  for (const row of [4, 5]) server.write(row)
  const kept = server.failover(1)
  server.write(6)
  const events = [kept, kept + 1, kept + 2].map((offset) => server.event(offset))
  await reader.receive(events[2] as typeof events[number])
  for (let n = 0; n < 5; n++) await turn()
  for (const event of events) await reader.receive(event)
  t.same([reader.seen, reader.resets.length, server.streams], [[events[0]?.id, events[2]?.id], 1, 1])
})

t.test('whatever happens, the state that is built from load and events equals the database', async (t) => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('write'), row: fc.nat(3), deletes: fc.boolean() }) },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('send'), count: fc.nat(3) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('read', 'resolve', 'resolve without') }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('reject', 'lose') }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('failover'), count: fc.nat(3) }) },
    fc.record({ do: fc.constantFrom('forget', 'mark', 'close', 'refuse', 'flood') })
  )
  timers.install()
  t.teardown(() => timers.uninstall())
  const run = async (steps: { do: string, row?: number, deletes?: boolean, count?: number }[]): Promise<void> => {
    const server = new Server()
    const reader = new Reader(server)
    let state = new Map<unknown, unknown>()
    const seen: string[] = []
    reader.chat.on('*', (event, { id }) => {
      const { row, version } = event as unknown as Row
      seen.push(id as string)
      if (version === undefined) state.delete(row)
      else state.set(row, version)
    })
    let sent = 0
    let isClosed = false
    let lastEventId: string | undefined
    const settle = async (withPosition: boolean): Promise<void> => {
      const { last } = reader
      if (reader.running === 0) return
      if (!last.signal.aborted) state = new Map(server.rows)
      await last.resolve(withPosition ? { lastEventId: lastEventId ?? server.id() } : {})
      lastEventId = undefined
    }
    const send = (to: number): Promise<void> => {
      const events = Array.from({ length: Math.max(to - sent, 0) }, (_, index) => server.event(sent + index + 1))
      sent = Math.max(to, sent)
      for (const event of events) reader.chat.receive(event)
      return turn()
    }
    // The channel between tabs has lost what was sent next, except resets: without a reset, a chat that is ahead of the
    // stream would notice with the next event only that the log has fallen back.
    const lose = (): void => {
      for (; sent < server.head; sent++) {
        const event = server.event(sent + 1)
        if (event.event === 'reset') reader.chat.receive(event)
      }
    }
    await reader.receive(marker('a', server.id()))
    for (const { do: act, row = 0, deletes, count = 0 } of steps) {
      if (act === 'write') server.write(row, { deletes })
      if (act === 'send') await send(Math.min(sent + count, server.head))
      if (act === 'read' && reader.running > 0) lastEventId ??= server.id()
      if (act === 'resolve') await settle(true)
      if (act === 'resolve without') await settle(false)
      if (act === 'reject' && reader.running > 0) { lastEventId = undefined; await reader.last.reject() }
      if (act === 'lose') lose()
      if (act === 'mark') {
        lose()
        await reader.receive(marker('a', server.id()))
      }
      if (act === 'flood') {
        server.write(row, { text: LARGE })
        await send(server.head)
      }
      if (act === 'refuse') {
        reader.chat.refused()
        const { id } = reader.chat.position()
        sent = Number(id?.split('-')[1])
        await reader.receive(marker('a', id))
        // As a server does whose log does not have the position.
        if (id !== server.id(sent)) {
          sent = server.head
          await reader.reset(server.id(), 'diverged')
        }
      }
      if (act === 'failover' && sent > server.failover(count)) {
        sent = server.head
        await reader.reset(server.id(), 'diverged')
      }
      if (act === 'forget') {
        server.forget()
        sent = 0
        lastEventId = undefined
        await reader.reset(server.id())
      }
      if (act === 'close') { isClosed = true; reader.chat.close(); seen.length = 0 }
    }
    await send(server.head)
    // A chat in which nothing more happens gets no further event.
    if (steps.some((step) => step.do === 'lose')) await reader.receive(marker('a', server.id()))
    for (let n = 0; n < 30; n++) {
      await settle(true)
      if (n % 10 === 9) timers.fire()
      await turn()
    }
    if (isClosed) return assert.deepEqual(seen, [])
    assert.deepEqual([...state].sort(), [...server.rows].sort())
    assert.equal(new Set(seen).size, seen.length, 'each event once')
    reader.chat.close()
  }
  await t.resolves(fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 25 }), run), { numRuns: 1_000 }))
})

t.test('without history, the state equals the database once a call has ended without too many events', async (t) => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('write'), row: fc.nat(3) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('flood', 'lose', 'read', 'resolve', 'reject', 'fire') }) }
  )
  timers.install()
  t.teardown(() => timers.uninstall())
  const run = async (steps: { do: string, row?: number }[]): Promise<void> => {
    const rows = new Map<unknown, unknown>()
    let state = new Map<unknown, unknown>()
    let read: typeof rows | undefined
    const reader = new Reader(new Server())
    reader.chat.on('*', (event) => {
      const { row, version } = event as unknown as Row
      state.set(row, version)
    })
    const write = (row: number, text = ''): Parameters<Chat['receive']>[0] => {
      const version = rows.size + Number(rows.get(row) ?? 0) + 1
      rows.set(row, version)
      return { chatId: 'a', event: 'message', data: { type: 'message', row, version, text } }
    }
    const resolve = async (): Promise<void> => {
      if (reader.running === 0) return
      if (!reader.last.signal.aborted) state = read ?? new Map(rows)
      read = undefined
      await reader.last.resolve({})
    }
    await reader.receive(marker('a', undefined))
    for (const { do: act, row = 0 } of steps) {
      if (act === 'write') await reader.receive(write(row))
      if (act === 'flood') await reader.receive(write(row, LARGE))
      if (act === 'lose') {
        write(row)
        await reader.receive(lossOf('a'))
      }
      if (act === 'read' && reader.running > 0) read ??= new Map(rows)
      if (act === 'resolve') await resolve()
      if (act === 'reject' && reader.running > 0) { read = undefined; await reader.last.reject() }
      if (act === 'fire') { timers.fire(); await turn() }
    }
    for (let n = 0; n < 3; n++) {
      await resolve()
      timers.fire()
      await turn()
    }
    assert.deepEqual([reader.running, timers.size], [0, 0])
    assert.deepEqual([...state].sort(), [...rows].sort())
    reader.chat.close()
  }
  await t.resolves(fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 25 }), run), { numRuns: 200 }))
})
