import t from 'tap'
import { Pause } from '../../../lib/outbox/pause.ts'

t.test('a wake ends only the pause that may be woken, and an end ends all', async (t) => {
  const pause = new Pause()
  pause.wake()
  await pause.sleepUntilWoken(60_000)
  pause.rest()
  const woken = pause.sleepUntilWoken(60_000)
  pause.wake()
  await woken
  const asleep = pause.sleep(60_000)
  pause.wake()
  pause.end()
  await asleep
  t.equal(pause.hasEnded, true)
  await pause.sleep(60_000)
})

t.test('a loop can end before its first pause', async (t) => {
  const pause = new Pause()
  pause.end()
  await pause.sleepUntilWoken(60_000)
  t.equal(pause.hasEnded, true)
})
