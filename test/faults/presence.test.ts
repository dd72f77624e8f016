import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { PresentUser } from './present-user.ts'
import { Random } from './random.ts'
import { Stage, type Fault } from './stage.ts'

const CHATS = ['a', 'b']
const USERS = 30
const FAULTS: Fault[] = [
  'kill instance', 'freeze instance', 'cut subscribers', 'cut publishers', 'freeze redis', 'kill redis', 'kill instance'
]
const PRESENCE = { graceMs: 1_500, leaseMs: 3_000 }

/**
 * For how long a page may show a user as absent who has never left. Mostly it is milliseconds: until a room that opens
 * has read its presence.
 */
const BOUND_MS = 2_000

t.setTimeout(240_000)

t.test('despite all faults, all clients end with the true presence, and connected users stay present', async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const stage = await Stage.start(t, random, { realtime: { presence: PRESENCE }, env: { USERS: 'query' } })
  const inTime = AbortSignal.timeout(220_000)
  const users = Array.from({ length: USERS }, (_, n) => new PresentUser(`user${n}`, CHATS[n % CHATS.length] as string, {
    random: random.of(`user ${n}`), pick: (random) => random.pick(stage.instances).url, steady: n % 3 === 0
  }))
  t.teardown(() => { for (const user of users) user.close() })
  for (const user of users) user.open()
  const truth = (chatId: string): string => {
    const present = users.filter((user) => user.chatId === chatId && user.tabs.length > 0)
    return present.map(({ name }) => name).sort().join()
  }
  /** Resolves once every client and every instance shows the true presence. */
  const atRest = async (): Promise<void> => {
    const differs = async (): Promise<boolean> => {
      if (users.some(({ chatId, tabs }) => tabs.some(({ present }) => present !== truth(chatId)))) return true
      const equal = await Promise.all(stage.instances.flatMap(({ url }) => CHATS.map(async (chatId) => {
        const users = await (await fetch(`${url}/presence/${chatId}`)).json() as string[]
        return users.join() === truth(chatId)
      })))
      return equal.includes(false)
    }
    while (await differs()) {
      inTime.throwIfAborted()
      await delay(20)
    }
  }
  await atRest()
  const steady = users.filter(({ steady }) => steady)
  for (const user of users) user.expect(steady.filter(({ chatId }) => chatId === user.chatId).map(({ name }) => name))

  const moving = new AbortController()
  const moves = users.map((user) => user.comeAndGo(moving.signal))
  for (const fault of random.shuffled(FAULTS)) {
    await delay(300 + random.next() * 700)
    const at = performance.now()
    await stage.suffer(fault)
    t.comment(`${fault}: ${Math.round(performance.now() - at)} ms`)
  }
  moving.abort()
  await Promise.all(moves)
  const from = performance.now()
  await atRest()
  const absent = users.map((user) => Math.round(user.longestAbsence())).sort((a, b) => b - a).slice(0, 5)
  const streams = users.reduce((sum, { streams }) => sum + streams, 0)
  t.comment(JSON.stringify({ rest: Math.round(performance.now() - from), absent, streams }))
  t.same(users.flatMap(({ faults }) => faults), [], 'no stream got the same change twice')
  t.ok(Math.max(...users.map((user) => user.longestAbsence())) < BOUND_MS, 'connected users stayed present')
  const [present, away] = [users.some(({ tabs }) => tabs.length > 0), users.some(({ tabs }) => tabs.length === 0)]
  t.ok(present && away, 'some users are present, and some are not')
})
