import t from 'tap'
import { RealtimeError } from '../../../lib/errors.ts'
import { describeFailure } from '../../../lib/outbox/failure.ts'

t.test('a failure of a database is described by its code or its name, never by its message', async (t) => {
  t.same(describeFailure(Object.assign(new Error('secret'), { code: '42601' })), { code: '42601' })
  t.same(describeFailure(new TypeError('secret')), { code: 'TypeError' })
  t.same(describeFailure('secret'), { code: 'string' })
  t.same(describeFailure(new RealtimeError('RT_CLOSED', 'It')), {
    code: 'RT_CLOSED', reason: new RealtimeError('RT_CLOSED', 'It').message
  })
})
