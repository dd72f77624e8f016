import t from 'tap'
import { createBackoff, type Backoff } from '../../../lib/client/backoff.ts'

/** A backoff after one failure, and the delay of the next attempt. */
function afterFailure (): { backoff: Backoff, delay: number } {
  const backoff = createBackoff()
  backoff.retry(100_000)
  return { backoff, delay: backoff.next() }
}

t.test('the delay doubles with each failure, up to half more, and begins anew after a success', async (t) => {
  const { backoff, delay } = afterFailure()
  t.ok(delay >= 100_000 && delay < 150_000)
  backoff.retry(1_000)
  const second = backoff.next()
  t.ok(second >= 2_000 && second < 3_000)
  backoff.reset()
  const first = backoff.next()
  t.ok(first >= 1_000 && first < 1_500)
})

t.test('a wait that is skipped while it lasts, or before it begins, ends at once', async (t) => {
  const { backoff, delay } = afterFailure()
  const wait = backoff.wait(delay)
  backoff.skip(true)
  await wait
  t.equal(backoff.next(), 0)
  const next = backoff.next()
  backoff.skip(false)
  await backoff.wait(next)
  t.equal(backoff.next(), 0, 'the next attempt has no delay')
})

t.test('a connection that is well keeps its delay', async (t) => {
  const { backoff } = afterFailure()
  backoff.reset()
  backoff.skip(false)
  t.ok(backoff.next() >= 100_000)
})
