import t, { type Test } from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { LogFollower } from '../../../lib/rooms/log-follower.ts'
import type { LogPages } from '../../../lib/rooms/log-pages.ts'
import type { LogEntry, LogPage } from '../../../lib/pubsub/event-log.ts'
import { FakeTimers } from '../../support/fake-timers.ts'

/** A follower of a log whose reads the test answers. */
class Followed {
  readonly reported: string[] = []
  readonly reads: { resolve (page: LogPage): void, reject (error: Error): void }[] = []
  readonly follower: LogFollower

  constructor () {
    const read = (): Promise<LogPage> =>
      new Promise((resolve, reject) => { this.reads.push({ resolve, reject }) })
    const pages: Pick<LogPages, 'readBounds' | 'read' | 'retryMs'> = { readBounds: read, read, retryMs: 100 }
    this.follower = new LogFollower(pages as LogPages, { // A follower uses three of its members.
      started: ({ offset }) => this.reported.push(`started after ${offset}`),
      entry: ({ position }) => this.reported.push(`event ${position.offset}`),
      gap: (reason) => this.reported.push(reason),
      inSync: () => this.reported.push('in sync'),
      readFailed: () => this.reported.push('failed')
    })
  }

  /** Answers the read in progress: the log has the events up to `offset`, and these are new. */
  async answer (offset: number, ...entries: LogEntry[]): Promise<void> {
    this.reads.shift()?.resolve({ head: { epoch: 'e', offset, tag: offset }, gap: undefined, entries })
    await turn()
  }

  async fail (): Promise<void> {
    this.reads.shift()?.reject(new Error('not now'))
    await turn()
  }

  /** Returns what was reported since the last call. */
  takeReported (): string[] {
    return this.reported.splice(0)
  }
}

function entry (offset: number): LogEntry {
  const position = { epoch: 'e', offset, tag: offset, previousTag: offset - 1, isMarker: false }
  return { position, from: 'other', timestamp: 0, event: 'message', json: '{}' }
}

/** A follower that is in sync after event 1. */
async function inSync (): Promise<Followed> {
  const followed = new Followed()
  followed.follower.live()
  await followed.answer(1)
  followed.takeReported()
  return followed
}

t.test('while detached, it reads a position but reports nothing, and holds events that arrive', async (t) => {
  const followed = new Followed()
  const { follower } = followed
  follower.sync()
  await followed.answer(1)
  t.match(follower.position, { offset: 1 })
  t.equal(follower.inSync, false)
  t.same(followed.takeReported(), ['started after 1'])
  follower.receive(entry(2))
  t.same(followed.takeReported(), [])
  follower.live()
  t.equal(follower.inSync, false)
  await followed.answer(1)
  t.same(followed.takeReported(), ['event 2', 'in sync'])
  t.equal(follower.inSync, true)
})

t.test('a read that began before the subscription was active does not prove that nothing is missed', async (t) => {
  const followed = new Followed()
  const { follower } = followed
  follower.sync()
  follower.live()
  await followed.answer(1)
  t.equal(follower.inSync, false)
  await followed.answer(2, entry(2))
  t.same(followed.takeReported(), ['started after 1', 'event 2', 'in sync'])
})

t.test('it starts before an event that arrived during its first read, and reads what was lost after it', async (t) => {
  const followed = new Followed()
  const { follower } = followed
  follower.live()
  follower.receive(entry(2))
  await followed.answer(3)
  t.same(followed.takeReported(), ['started after 1', 'event 2'])
  await followed.answer(3, entry(3))
  t.same(followed.takeReported(), ['event 3', 'in sync'])
})

t.test('in sync, it reports events at once, and after a missing one it syncs', async (t) => {
  const followed = await inSync()
  const { follower } = followed
  follower.receive(entry(2))
  t.same(followed.takeReported(), ['event 2'])
  follower.receive(entry(4))
  t.equal(follower.inSync, false)
  t.same(followed.takeReported(), [])
  await followed.answer(4, entry(3), entry(4))
  t.same(followed.takeReported(), ['event 3', 'event 4', 'in sync'])
})

t.test('an interruption detaches it, also during a read', async (t) => {
  const followed = await inSync()
  const { follower } = followed
  follower.lost()
  follower.receive(entry(2))
  t.same(followed.takeReported(), [])
  t.equal(follower.inSync, false)
  follower.live()
  follower.lost()
  await followed.answer(2, entry(2))
  t.same(followed.takeReported(), ['event 2'], 'what was read is reported')
  t.equal(follower.inSync, false)
})

t.test('it compares itself with the head only while it is in sync', async (t) => {
  const followed = await inSync()
  const { follower } = followed
  follower.reconcile({ epoch: 'e', offset: 1, tag: 1 })
  follower.reconcile(undefined)
  t.equal(followed.reads.length, 0)
  follower.reconcile({ epoch: 'e', offset: 2, tag: 2 })
  t.equal(follower.inSync, false)
  await followed.answer(2, entry(2))
  t.same(followed.takeReported(), ['event 2', 'in sync'])
  follower.lost()
  follower.reconcile({ epoch: 'e', offset: 3, tag: 3 })
  t.equal(followed.reads.length, 0)
})

async function withTimers (t: Test): Promise<FakeTimers> {
  const timers = new FakeTimers()
  timers.install()
  t.teardown(() => timers.uninstall())
  return timers
}

t.test('a failed read is retried while the subscription is active', async (t) => {
  const timers = await withTimers(t)
  const followed = await inSync()
  const { follower } = followed
  follower.sync()
  await followed.fail()
  t.same(followed.takeReported(), ['failed'])
  t.equal(follower.inSync, false)
  timers.fire()
  t.equal(followed.reads.length, 1)
  await followed.answer(1)
  t.same(followed.takeReported(), ['in sync'])
  follower.lost()
  follower.sync()
  await followed.fail()
  t.same(followed.takeReported(), [])
  t.equal(timers.size, 0)
})

t.test('closed, it reports nothing, reads nothing and stays closed', async (t) => {
  const timers = await withTimers(t)
  for (const ending of ['answer', 'fail'] as const) {
    const followed = await inSync()
    const { follower } = followed
    follower.sync()
    follower.close()
    await (ending === 'answer' ? followed.answer(2, entry(2)) : followed.fail())
    follower.lost()
    await follower.live()
    follower.receive(entry(2))
    t.equal(follower.inSync, false, ending)
    t.equal(followed.reads.length, 0, ending)
    t.same(followed.takeReported(), [], ending)
    t.equal(timers.size, 0, ending)
  }
  const followed = await inSync()
  followed.follower.sync()
  await followed.fail()
  t.equal(timers.size, 1)
  followed.follower.close()
  t.equal(timers.size, 0, 'a retry is cancelled')
})
