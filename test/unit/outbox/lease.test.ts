import t from 'tap'
import type { Database } from '../../../lib/outbox/database.ts'
import { Lease } from '../../../lib/outbox/lease.ts'

function fake (): {
  lease: Lease, calls: string[], free: { is: boolean }
} {
  const calls: string[] = []
  const free = { is: true }
  const database = {
    claim: async () => { calls.push('claim'); return free.is },
    release: async () => { calls.push('release') }
  } as unknown as Database
  return { lease: new Lease(database, 60_000), calls, free }
}

t.test('a lease that another relay has is asked for again after a while', async (t) => {
  let now = 100_000
  t.intercept(performance, 'now', { value: () => now })
  const { lease, calls, free } = fake()
  free.is = false
  const wait = await lease.take()
  t.ok(wait >= 30_000 && wait <= 45_000)
  now += 10
  t.ok(await lease.take() > 0, 'too early')
  t.same(calls, ['claim'])
  await lease.release()
  t.same(calls, ['claim'], 'there is nothing to release')
  free.is = true
  now += 10_000
  t.equal(await lease.take(), 0)
  t.equal(lease.isHeld, true)
  t.equal(await lease.take(), 0)
  t.same(calls, ['claim', 'claim'])
  now += 60_000
  t.equal(lease.isHeld, false, 'it was not renewed')
  t.equal(await lease.take(), 0)
  await lease.release()
  t.same(calls, ['claim', 'claim', 'claim', 'release'])
})

for (const outcome of [true, new Error('The connection was lost')]) {
  t.test(`a release waits for a request under way: ${outcome}`, async (t) => {
    const calls: string[] = []
    let [resolve, reject] = [(_isTaken: boolean): void => {}, (_error: unknown): void => {}]
    const answer = new Promise<boolean>((...settle) => { [resolve, reject] = settle })
    const database = {
      claim: () => { calls.push('claim'); return answer },
      release: async () => { calls.push('release') }
    } as unknown as Database
    const lease = new Lease(database, 60_000)
    const taking = lease.take()
    const releasing = lease.release()
    await new Promise(setImmediate)
    t.same(calls, ['claim'])
    if (outcome === true) resolve(true)
    else reject(outcome)
    await Promise.allSettled([taking, releasing])
    t.same(calls, outcome === true ? ['claim', 'release'] : ['claim'])
    t.equal(lease.isHeld, false)
  })
}
