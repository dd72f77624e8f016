import t, { type Test } from 'tap'
import {
  logPending,
  logRecovered,
  logRepeated,
  originOf,
  type RecoverableFailure,
  type RepeatedFailure
} from '../../../lib/observability/repeated-failure.ts'
import { FakeTimers } from '../../support/fake-timers.ts'
import { keepLog } from '../../support/log.ts'

const OUTAGE: RecoverableFailure = { level: 'warn', message: 'It fails', recovered: 'It works again' }
const FAULT: RepeatedFailure = { level: 'error', message: 'It is wrong' }

const timers = new FakeTimers()

/** Replaces the timers. Returns the logged lines without the time and similar fields. */
function setup (t: Test): { log: ReturnType<typeof keepLog>['log'], taken: () => unknown[] } {
  const { log, lines } = keepLog()
  timers.install()
  t.teardown(() => timers.uninstall())
  return { log, taken: () => lines.splice(0).map(({ level, time, pid, hostname, ...line }) => line) }
}

t.test('a failure is logged when it begins, at intervals with its count, and when it ends', async (t) => {
  const { log, taken } = setup(t)
  const fail = (times: number): void => {
    for (let n = 0; n < times; n++) logRepeated(log, OUTAGE, { chatId: `c${n}` })
  }
  fail(200)
  t.same(taken(), [{ chatId: 'c0', msg: 'It fails' }])
  timers.fire()
  t.same(taken(), [{ chatId: 'c199', count: 200, msg: 'It fails' }], 'with the latest chat')
  timers.fire()
  t.same(taken(), [], 'it may go on, but nothing was tried')
  fail(5)
  t.same(taken(), [])
  logRecovered(log, OUTAGE, { by: 'itself' })
  logRecovered(log, OUTAGE)
  t.same(taken(), [{ by: 'itself', count: 205, msg: 'It works again' }])
  timers.fire()
  t.same(taken(), [])
  t.equal(timers.size, 0, 'it is over')
  logRecovered(log, OUTAGE)
  fail(1)
  t.same(taken(), [{ chatId: 'c0', msg: 'It fails' }], 'the next one begins anew')
  logPending(log)
})

t.test('a failure that comes and goes is logged as rarely', async (t) => {
  const { log, taken } = setup(t)
  const flap = (): void => {
    for (let n = 0; n < 30; n++) {
      logRepeated(log, OUTAGE, {})
      logRecovered(log, OUTAGE)
    }
  }
  flap()
  t.same(taken(), [{ msg: 'It fails' }, { count: 1, msg: 'It works again' }])
  timers.fire()
  t.same(taken(), [{ count: 30, msg: 'It fails' }, { count: 30, msg: 'It works again' }])
  flap()
  timers.fire()
  t.same(taken(), [{ count: 60, msg: 'It fails' }, { count: 60, msg: 'It works again' }])
  timers.fire()
  t.same(taken(), [])
  t.equal(timers.size, 0)
})

t.test('each cause is counted by itself, up to a limit of causes', async (t) => {
  const { log, taken } = setup(t)
  for (const code of ['A', 'B', 'A']) logRepeated(log, FAULT, { code }, code)
  t.same(taken(), [{ code: 'A', msg: 'It is wrong' }, { code: 'B', msg: 'It is wrong' }])
  timers.fire()
  t.same(taken(), [{ code: 'A', count: 2, msg: 'It is wrong' }])
  for (let n = 0; n < 1_000; n++) logRepeated(log, FAULT, { code: n }, n)
  t.ok(taken().length < 50)
  timers.fire()
  timers.fire()
  t.equal(timers.size, 0, 'without a sign of recovery it is over when it does not repeat')
})

t.test('counts that were not logged are logged when the app closes', async (t) => {
  const { log, taken } = setup(t)
  for (let n = 0; n < 3; n++) logRepeated(log, OUTAGE, {})
  taken()
  logPending(log)
  t.same(taken(), [{ count: 3, msg: 'It fails' }])
  t.equal(timers.size, 0)
  logPending(log)
  logPending(setup(t).log)
  t.same(taken(), [])
})

t.test('a logger that throws does no harm', async () => {
  const failing = (): never => { throw new Error('the disk is full') }
  const log = { debug: failing, info: failing, warn: failing, error: failing }
  for (let n = 0; n < 2; n++) logRepeated(log, OUTAGE, {})
  logRecovered(log, OUTAGE)
  logPending(log)
})

t.test('faults of an app are distinguished by their places in the code', async (t) => {
  const make = (message: string): Error => new Error(message)
  t.equal(originOf(make('one')), originOf(make('other\nline')))
  t.not(originOf(make('one')), originOf(new Error('one')))
  for (const strange of [undefined, null, 'text', {}]) t.equal(originOf(strange), '')
})
