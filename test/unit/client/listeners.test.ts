import t from 'tap'
import { getEventListeners } from 'node:events'
import { createListeners } from '../../../lib/client/listeners.ts'

t.test('a signal that has aborted keeps no listener', async (t) => {
  const removal = new AbortController()
  const signal = AbortSignal.any([removal.signal])
  const listeners = createListeners<[number]>()
  const received: number[] = []
  listeners.add((n) => received.push(n), { signal })
  listeners.notify(1)
  removal.abort()
  listeners.notify(2)
  t.same(received, [1])
  t.same(getEventListeners(signal, 'abort'), [])
})
