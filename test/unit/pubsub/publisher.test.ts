import t from 'tap'
import { RealtimeError } from '../../../lib/errors.ts'
import { logFailure } from '../../../lib/observability/log-failure.ts'
import { LocalPubSub } from '../../../lib/pubsub/local/local-pubsub.ts'
import { keepLog } from '../../support/log.ts'

t.test('a publish that succeeds ends an outage that something else has found', async (t) => {
  const { log, line } = keepLog()
  const pubsub = new LocalPubSub({ log })
  t.teardown(() => pubsub.close())
  logFailure(new RealtimeError('RT_PUBLISH_REJECTED', 'Redis is not connected'), log, {})
  await pubsub.publish('c', {})
  t.match(await line('Publishing works again'), { count: 1 })
})
