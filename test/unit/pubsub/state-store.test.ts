import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { LocalPubSub } from '../../../lib/pubsub/local/local-pubsub.ts'
import type { StateStore } from '../../../lib/pubsub/state-store.ts'
import { keepLog } from '../../support/log.ts'

t.test('a listener of a state that throws is logged, and the others get the change', async (t) => {
  const { log, lines } = keepLog('error')
  const provider = new LocalPubSub({ log })
  t.teardown(() => provider.close())
  const state = provider.state as StateStore // It keeps a history.
  const got: string[] = []
  state.watch('c', () => { throw new Error('a bug') })
  state.watch('c', ({ field }) => { got.push(field) })
  await state.change('c', { operation: 'set', field: 'f', value: '', leaseMs: 1_000 })
  await turn()
  t.same(got, ['f'])
  t.match(lines, [{ msg: 'A listener of the state of a channel failed', channel: 'c', err: { message: 'a bug' } }])
})
