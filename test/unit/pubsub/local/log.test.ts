import t, { type Test } from 'tap'
import { mock } from 'node:test'
import { copyCursor, type Cursor } from '../../../../lib/pubsub/cursor.ts'
import { DraftContent } from '../../../../lib/pubsub/local/draft-content.ts'
import { LocalLog } from '../../../../lib/pubsub/local/log.ts'
import { timing } from '../../../../lib/core/timing.ts'

const DAY = 24 * 3_600_000
const envelope = { from: 'me', timestamp: 0, event: 'message', json: '1' }

function mockTimers (t: Test): void {
  mock.timers.enable({ apis: ['setInterval', 'Date'] })
  t.teardown(() => mock.timers.reset())
}

t.test('a log outlives its events by days, and is then removed', async (t) => {
  mockTimers(t)
  const log = new LocalLog({ size: 10, ttlMs: DAY, idempotencyTtlMs: DAY })
  t.teardown(() => log.close())
  const { position } = log.append('c', envelope, undefined)
  const cursor = copyCursor(position)
  for (let day = 1; day < 8; day++) {
    mock.timers.tick(DAY)
    t.same(await log.heads(['c']), [cursor], `after ${day} days`)
  }
  t.match(await log.read('c', undefined, 10), { head: cursor, entries: [] })
  for (let day = 0; day < 2; day++) mock.timers.tick(DAY)
  t.same(await log.heads(['c']), [undefined])
  t.match(await log.read('c', cursor, 10), { gap: 'epoch', head: { offset: 0 } }, 'an even later client gets a gap')
})

t.test('the position in a chat without an event is kept while the chat has listeners', async (t) => {
  mockTimers(t)
  const log = new LocalLog({ size: 10, ttlMs: DAY, idempotencyTtlMs: DAY })
  t.teardown(() => log.close())
  const { head: top } = await log.read('c', undefined, 10)
  await log.read('left', undefined, 10)
  const heads = (): unknown => log.heads(['c'])
  for (const again of [heads, () => log.read('c', top, 10), () => log.read('c', undefined, 10), heads]) {
    mock.timers.tick(timing.emptyLog - 1)
    await again()
  }
  t.same(await log.heads(['c', 'left']), [top, undefined])
  log.append('c', envelope, undefined)
  t.equal((await log.read('c', top, 10)).entries.length, 1, 'the first event follows it')
  await log.read('d', undefined, 10)
  mock.timers.tick(2 * timing.emptyLog)
  t.same(await log.heads(['d']), [undefined])
})

t.test('the state of a chat without an event is kept while the chat has listeners', async (t) => {
  mockTimers(t)
  const log = new LocalLog({ size: 10, ttlMs: DAY, idempotencyTtlMs: DAY })
  t.teardown(() => log.close())
  const state = { epoch: 'e', count: 1 }
  log.setStateVersion('c', state)
  const [top] = await log.heads(['c']) as [Cursor]
  for (const again of [() => log.heads(['c']), () => log.read('c', top, 10), () => log.setStateVersion('c', state)]) {
    mock.timers.tick(timing.emptyLog - 1)
    await again()
  }
  t.same(log.stateVersion('c'), state)
  mock.timers.tick(2 * timing.emptyLog)
  t.equal(log.stateVersion('c'), undefined)
})

t.test('no timer runs before the first log and after the last one', async (t) => {
  mockTimers(t)
  const { setInterval, clearInterval } = globalThis
  let running = 0
  mock.method(globalThis, 'setInterval', (...args: Parameters<typeof setInterval>) => {
    running++
    return setInterval(...args)
  })
  mock.method(globalThis, 'clearInterval', (timer: NodeJS.Timeout | undefined) => {
    if (timer !== undefined) running--
    clearInterval(timer)
  })
  t.teardown(() => mock.restoreAll())
  const log = new LocalLog({ size: 10, ttlMs: DAY, idempotencyTtlMs: DAY })
  t.teardown(() => log.close())
  for (const epoch of ['one', 'two']) {
    t.equal(running, 0)
    log.setStateVersion('c', { epoch, count: 1 })
    t.equal(running, 1)
    mock.timers.tick(2 * timing.emptyLog)
    t.equal(log.stateVersion('c'), undefined)
  }
  t.equal(running, 0)
})

t.test('an event is read with the metadata with which it was published', async (t) => {
  mockTimers(t)
  const log = new LocalLog({ size: 10, ttlMs: DAY, idempotencyTtlMs: DAY })
  t.teardown(() => log.close())
  const traced = { ...envelope, traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' }
  for (const each of [envelope, traced]) log.append('c', each, undefined)
  const { entries } = await log.read('c', undefined, 10)
  t.same(entries.map(({ position, ...rest }) => rest), [envelope, traced])
})

t.test('a log is kept while one of its idempotency keys is valid', async (t) => {
  mockTimers(t)
  const log = new LocalLog({ size: 10, ttlMs: DAY, idempotencyTtlMs: 20 * DAY })
  t.teardown(() => log.close())
  const first = log.append('c', envelope, 'app key')
  for (let day = 0; day < 15; day++) mock.timers.tick(DAY)
  t.same(log.append('c', envelope, 'app key'), { position: copyCursor(first.position), entry: undefined })
  for (let day = 0; day < 25; day++) mock.timers.tick(DAY)
  t.same(await log.heads(['c']), [undefined])
})

t.test('finalization keys are kept as long as the state in Redis, other keys for `idempotencyTtlMs`', async (t) => {
  mockTimers(t)
  const ttlMs = 10_000
  const log = new LocalLog({ size: 10, ttlMs, idempotencyTtlMs: 1_000 })
  const long = new LocalLog({ size: 10, ttlMs, idempotencyTtlMs: DAY })
  t.teardown(() => { for (const each of [log, long]) each.close() })
  for (const each of [log, long]) {
    for (const key of ['finalization key', 'app key'] as const) each.append('c', envelope, key)
  }
  const known = (each: LocalLog): boolean[] => [each.hasKey('c', 'finalization key'), each.hasKey('c', 'app key')]
  t.same([known(log), known(long)], [[true, true], [true, true]])
  mock.timers.tick(ttlMs + timing.stateExtra - 1)
  t.same([known(log), known(long)], [[true, false], [true, true]])
  mock.timers.tick(1)
  t.same([known(log), known(long)], [[false, false], [true, true]])
})

t.test('the content of a finalized draft is kept as long as its event, and is dropped with its key', async (t) => {
  mockTimers(t)
  const log = new LocalLog({ size: 10, ttlMs: 10_000, idempotencyTtlMs: 1_000 })
  t.teardown(() => log.close())
  log.append('c', envelope, 'finalization key')
  const content = new DraftContent(log.budget)
  content.append({ at: 0, end: 3, content: 'abc' })
  log.keepContent('c', 'finalization key', content)
  t.same(log.finalized('c', 'finalization key'), { event: '1', content })
  t.same(log.finalized('c', 'finalization other'), { event: undefined, content: undefined })
  mock.timers.tick(10_000)
  t.match(log.finalized('c', 'finalization key'), { event: undefined })
  mock.timers.tick(timing.stateExtra)
  t.same(log.finalized('c', 'finalization key'), { event: undefined, content: undefined })
  mock.timers.tick(10_000)
  t.equal(log.budget.bytes, 0)
})

t.test('after close, nothing is left', async (t) => {
  mockTimers(t)
  const log = new LocalLog({ size: 10, ttlMs: DAY, idempotencyTtlMs: DAY })
  log.append('c', envelope, 'app key')
  log.close()
  t.same(await log.heads(['c']), [undefined])
})
