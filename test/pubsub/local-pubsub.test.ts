import t from 'tap'
import { ChatEvents } from '../../lib/chat-events.ts'
import { LocalPubSub } from '../../lib/pubsub/local-pubsub.ts'
import { liveFeedContract, logContract, providerContract, statsContract } from '../../lib/testing/index.ts'
import { silentLogger } from '../../lib/logger.ts'
import { Metrics } from '../../lib/metrics.ts'
import { keeps } from '../support/contract.ts'
import { nothingUnhandled } from '../support/unhandled.ts'

const make = (): LocalPubSub => new LocalPubSub()

keeps(t, 'LocalPubSub', providerContract(make))
keeps(t, 'LocalPubSub as a feed', liveFeedContract(make))
keeps(t, 'what LocalPubSub counts', statsContract(make))
keeps(t, 'the log of LocalPubSub', logContract((options) => new LocalPubSub(options)))

t.test('what counts and logs may throw: a publish is what it was', async (t) => {
  nothingUnhandled(t)
  const fail = (): never => { throw new Error('of the app') }
  const log = { ...silentLogger, debug: fail, warn: fail }
  const metrics = new Metrics()
  metrics.onPublished = fail
  for (const pubsub of [new LocalPubSub({ metrics }), new LocalPubSub({ log })]) {
    t.match(await pubsub.publish('c', 1), { duplicate: false })
    await t.rejects(pubsub.publish('', 1), { code: 'RT_CHANNEL_INVALID' })
    new ChatEvents(pubsub, { log, retryMs: 0 }).emitChatMessage('', {})
    await pubsub.close()
  }
})
