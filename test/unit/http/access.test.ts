import t, { type Test } from 'tap'
import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import { Access, type Authorize } from '../../../lib/http/access.ts'
import { Permit } from '../../../lib/http/permits.ts'
import { RealtimeError } from '../../../lib/errors.ts'
import { keepLog } from '../../support/log.ts'
import type { RevocationListener } from '../../../lib/chat/revocations.ts'
import { timing } from '../../../lib/core/timing.ts'
import type { Entrance } from '../../../lib/chat/entrances.ts'

/** A stream that was opened with a grant. */
interface Opened { joined: number, closed: boolean, endsAfter: number[], close (): void }

interface Stage {
  access: Access
  timers: Timers
  opened: Opened[]
  /** The calls of `authorize`. */
  asked: string[]
  lines: ReturnType<typeof keepLog>['lines']
  open (chatId?: string): Promise<Opened>
  revoke (chatId: string, userId: string): void
  /** Revocations may have been missed. */
  lose (): void
  sync (isInSync: boolean): void
  stopped: () => number
}

const request = {} as FastifyRequest

/** Timers that fire when the test lets their time pass. */
class Timers {
  readonly #due = new Map<object, { call: () => void, ms: number }>()

  constructor (t: Test) {
    t.intercept(globalThis, 'setTimeout', {
      value: (call: () => void, ms: number) => {
        const timer = { unref: () => timer }
        this.#due.set(timer, { call, ms })
        return timer
      }
    })
    t.intercept(globalThis, 'clearTimeout', { value: (timer: object) => { this.#due.delete(timer) } })
  }

  /** Fires those that were set for no longer. */
  async pass (ms: number): Promise<void> {
    for (const [timer, { call, ms: after }] of [...this.#due]) {
      if (after <= ms && this.#due.delete(timer)) call()
    }
    await rest()
  }
}

const rest = async (): Promise<void> => { for (let n = 0; n < 5; n++) await turn() }

/** The access to chats, with revocations that the test controls. */
function start (t: Test, authorize: Authorize): Stage {
  const { log, lines } = keepLog()
  const timers = new Timers(t)
  const watch = { inSync: true, continuity: 1, stop: () => { stops++ } }
  let stops = 0
  let listener: RevocationListener | undefined
  const asked: string[] = []
  const access = new Access({
    log,
    authorize: (request, chatId) => { asked.push(chatId); return authorize(request, chatId) },
    watchRevocations: (given) => { listener = given; return watch }
  })
  const opened: Opened[] = []
  return {
    access,
    timers,
    opened,
    asked,
    lines,
    open: async (chatId = 'c') => {
      const permits = await access.check(request, [chatId])
      const onClose: (() => void)[] = []
      const one: Opened = {
        joined: 0,
        closed: false,
        endsAfter: [],
        close: () => {
          one.closed = true
          for (const call of onClose.splice(0)) call()
        }
      }
      const stream: Entrance['stream'] = {
        get closed () {
          return one.closed
        },
        end: async () => {
          one.close()
        },
        onClose: (call) => {
          onClose.push(call)
          return () => {}
        }
      }
      opened.push(one)
      permits.admit([{ stream, join: () => { one.joined++ }, endAfter: (ms) => { one.endsAfter.push(ms) } }])
      permits.release()
      return one
    },
    revoke: (chatId, userId) => listener?.revoked(chatId, userId),
    lose: () => { watch.continuity++; listener?.synced() },
    sync: (isInSync) => { watch.inSync = isInSync; if (isInSync) listener?.synced() },
    stopped: () => stops
  }
}

t.test('a stream joins its chat at once if no revocation can have been missed', async (t) => {
  const stage = start(t, () => ({ userId: 'ada' }))
  const [one, other] = [await stage.open(), await stage.open('d')]
  t.same([one.joined, other.joined], [1, 1])
  stage.revoke('c', 'bob')
  t.equal(one.closed, false)
  stage.revoke('c', 'ada')
  t.same([one.closed, other.closed], [true, false])
  t.same(stage.asked, ['c', 'd'])
  stage.access.close()
  t.equal(stage.stopped(), 1)
})

t.test('a revocation ends all streams of the user, also if the end of one makes the app end another', async (t) => {
  const stage = start(t, () => ({ userId: 'ada' }))
  const [first, second, third] = [await stage.open(), await stage.open(), await stage.open()]
  const { close } = first
  first.close = () => {
    close()
    second.close()
  }
  stage.revoke('c', 'ada')
  t.same([first.closed, second.closed, third.closed], [true, true, true])
})

t.test('a stream waits until all revocations are read, and joins if the user still has access', async (t) => {
  const stage = start(t, (_request, chatId) => ({ userId: chatId }))
  stage.sync(false)
  const [ada, bob, gone] = [await stage.open('ada'), await stage.open('bob'), await stage.open('gone')]
  t.same([ada.joined, bob.joined, gone.joined], [0, 0, 0])
  stage.revoke('ada', 'ada')
  gone.close()
  t.same([ada.joined, gone.joined], [1, 1], 'a closed stream leaves its chat')
  stage.sync(true)
  t.same([ada.joined, bob.joined, gone.joined], [1, 1, 1])
  t.equal(ada.closed, true)
  t.equal(bob.closed, false)
  t.equal(stage.asked.length, 3)
})

t.test('a stream whose grant expired while it waited does not join', async (t) => {
  const expiresAt = Date.now() + 3_600_000
  const stage = start(t, () => ({ expiresAt }))
  stage.sync(false)
  const one = await stage.open()
  t.intercept(Date, 'now', { value: () => expiresAt })
  stage.sync(true)
  t.equal(one.closed, true)
})

t.test('`authorize` is called again in the async context of the client\'s own request', async (t) => {
  const user = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  const stage = start(t, () => {
    seen.push(user.getStore())
    return { userId: user.getStore() ?? '' }
  })
  const ann = await user.run('ann', () => stage.open())
  const ben = await user.run('ben', () => stage.open())
  user.run('cid', () => stage.lose())
  await user.run('dan', () => stage.timers.pass(timing.accessSpread))
  t.same(seen, ['ann', 'ben', 'ann', 'ben'])
  stage.revoke('c', 'ann')
  t.same([ann.closed, ben.closed], [true, false])
})

t.test('`authorize` is called again if a revocation may have been missed during the call', async (t) => {
  const answers: ((answer: boolean) => void)[] = []
  const stage = start(t, () => new Promise<boolean>((resolve) => { answers.push(resolve) }))
  const opening = stage.open()
  stage.lose()
  answers[0]?.(true)
  const one = await opening
  t.equal(one.joined, 0)
  t.same(stage.asked, ['c', 'c'])
  stage.lose()
  answers[1]?.(true)
  await rest()
  t.equal(one.joined, 0, 'again')
  answers[2]?.(true)
  await rest()
  t.equal(one.joined, 1)
})

const refusals: Record<string, () => ReturnType<Authorize>> = {
  'is refused': () => false,
  'has another user': () => ({ userId: 'eve' }),
  'has no user any more': () => true,
  'has expired': () => ({ userId: 'ada', expiresAt: 1 }),
  'is asked about where the database is away': () => { throw new Error('The database is away') },
  'is asked about where the app throws undefined': () => { throw undefined }, // eslint-disable-line no-throw-literal
  'is refused by an error': () => { throw Object.assign(new Error('Sign in first'), { statusCode: 401 }) },
  'is asked about in vain': () => Promise.reject(new RealtimeError('RT_LOG_UNAVAILABLE'))
}
for (const [name, answer] of Object.entries(refusals)) {
  t.test(`an open stream ends if revocations may have been missed and its access ${name}`, async (t) => {
    let isLater = false
    const stage = start(t, (_request, chatId) => isLater && chatId === 'c' ? answer() : { userId: 'ada' })
    const [one, other] = [await stage.open(), await stage.open('d')]
    isLater = true
    stage.lose()
    t.same([one.closed, other.closed], [false, false], 'not all at once')
    t.match(stage.lines, [{ streams: 2 }])
    await stage.timers.pass(timing.accessSpread)
    t.same([one.closed, other.closed], [true, false])
    t.equal(other.joined, 1)
    t.same(stage.asked.slice(2).sort(), ['c', 'd'])
  })
}

t.test('a stream whose access is revoked while `authorize` is called again ends at once', async (t) => {
  let answer = (_grant: { userId: string }): void => {}
  let asked = 0
  const stage = start(t, () => asked++ === 0 ? { userId: 'ada' } : new Promise((resolve) => { answer = resolve }))
  const one = await stage.open()
  stage.lose()
  await stage.timers.pass(timing.accessSpread)
  stage.revoke('c', 'ada')
  t.equal(one.closed, true)
  answer({ userId: 'ada' })
  await rest()
  stage.lose()
  t.equal(stage.lines.length, 1, 'nothing is held any more')
})

t.test('a new grant that expires earlier ends its stream earlier', async (t) => {
  const now = Date.now()
  const until = [now + 2_000_000, now + 1_000_000, now + 3_000_000]
  const stage = start(t, () => ({ expiresAt: until.shift() as number }))
  const one = await stage.open()
  for (let time = 0; time < 2; time++) {
    stage.lose()
    await stage.timers.pass(timing.accessSpread)
  }
  t.equal(one.endsAfter.length, 1)
  t.ok((one.endsAfter[0] as number) <= 1_000_000)
})

t.test('`authorize` is not called while the revocations are out of sync, but once they are in sync', async (t) => {
  const stage = start(t, () => ({ userId: 'ada' }))
  const one = await stage.open()
  stage.lose()
  stage.sync(false)
  await stage.timers.pass(timing.accessSpread)
  t.equal(one.closed, false)
  stage.lose()
  stage.sync(true)
  await stage.timers.pass(timing.accessSpread)
  t.equal(one.closed, false)
  t.equal(one.joined, 1)
})

t.test('few calls of `authorize` run at the same time, and a stream without an answer in time ends', async (t) => {
  let isLater = false
  const stage = start(t, () => isLater ? new Promise(() => {}) : true)
  for (let n = 0; n < 40; n++) await stage.open()
  isLater = true
  stage.lose()
  await stage.timers.pass(timing.accessSpread)
  t.equal(stage.asked.length, 40 + 32)
  t.ok(stage.opened.every(({ closed }) => !closed))
  await stage.timers.pass(timing.accessDeadline)
  t.ok(stage.opened.every(({ closed }) => closed))
})

t.test('a closing app does not call `authorize` any more', async (t) => {
  const stage = start(t, () => true)
  const one = await stage.open()
  stage.lose()
  stage.access.close()
  await stage.timers.pass(timing.accessDeadline)
  t.same(stage.asked, ['c'])
  t.equal(one.closed, false)
})

t.test('the first refusal of a chat stands', (t) => {
  const permit = new Permit('1', request)
  t.equal(permit.refusal, undefined)
  permit.refuse(new RealtimeError('RT_TOO_MANY_CHATS', 'few'))
  permit.refuse(new RealtimeError('RT_FORBIDDEN'))
  t.equal(permit.refused, 'RT_TOO_MANY_CHATS')
  // A revocation that comes later has nothing to end.
  permit.revoke('ada')
  t.equal(permit.admitted, false)
  t.end()
})
