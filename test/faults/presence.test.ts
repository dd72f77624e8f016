import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { PresentUser } from './present-user.ts'
import { Random } from './random.ts'
import { Stage, type Fault } from './stage.ts'

const CHATS = ['a', 'b']
const USERS = 30
const FAULTS: Fault[] = ['kill instance', 'freeze instance', 'cut subscribers', 'cut publishers', 'freeze redis', 'kill redis', 'kill instance']
const PRESENCE = { graceMs: 1_500, leaseMs: 3_000 }

/** For how long anybody may be shown that somebody is not there who has never left. Mostly it is milliseconds: until a room that opens has read who is there. */
const BOUND_MS = 2_000

t.setTimeout(240_000)

t.test('whatever breaks, everybody knows in the end who is there, and who stays is not taken for gone', async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const stage = await Stage.start(t, random, { realtime: { presence: PRESENCE }, env: { USERS: 'query' } })
  const inTime = AbortSignal.timeout(220_000)
  const users = Array.from({ length: USERS }, (_, n) => new PresentUser(`user${n}`, CHATS[n % CHATS.length] as string, {
    random: random.of(`user ${n}`), pick: (random) => random.pick(stage.instances).url, steady: n % 3 === 0
  }))
  t.teardown(() => { for (const user of users) user.close() })
  for (const user of users) user.open()
  const truth = (chatId: string): string => users.filter((user) => user.chatId === chatId && user.tabs.length > 0).map(({ name }) => name).sort().join()
  /** Resolves once every client and every instance says so. */
  const atRest = async (): Promise<void> => {
    const differs = async (): Promise<boolean> => {
      if (users.some(({ chatId, tabs }) => tabs.some(({ present }) => present !== truth(chatId)))) return true
      const answers = await Promise.all(stage.instances.flatMap(({ url }) => CHATS.map(async (chatId) => {
        const users = await (await fetch(`${url}/presence/${chatId}`)).json() as string[]
        return users.join() === truth(chatId)
      })))
      return answers.includes(false)
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
  t.comment(JSON.stringify({ rest: Math.round(performance.now() - from), absent: users.map((user) => Math.round(user.longestAbsence())).sort((a, b) => b - a).slice(0, 5), streams: users.reduce((sum, { streams }) => sum + streams, 0) }))
  t.same(users.flatMap(({ faults }) => faults), [], 'no stream was told of anything twice')
  t.ok(Math.max(...users.map((user) => user.longestAbsence())) < BOUND_MS, 'who stayed was not taken for gone')
  t.ok(users.some(({ tabs }) => tabs.length > 0) && users.some(({ tabs }) => tabs.length === 0), 'some are there, and some are not')
})
