import t from 'tap'
import { ChatEvents } from '../../../../lib/chat/chat-events.ts'
import { LocalPubSub } from '../../../../lib/pubsub/local/local-pubsub.ts'
import { channelFeedContract, logContract, providerContract, statsContract } from '../../../../lib/contracts/index.ts'
import { silentLogger } from '../../../../lib/core/logger.ts'
import { Metrics } from '../../../../lib/observability/metrics.ts'
import { keeps } from '../../../support/contract.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'

const make = (): LocalPubSub => new LocalPubSub()

keeps(t, 'LocalPubSub', providerContract(make))
keeps(t, 'LocalPubSub as a feed', channelFeedContract(make))
keeps(t, 'what LocalPubSub counts', statsContract(make))
keeps(t, 'the log of LocalPubSub', logContract((options) => new LocalPubSub(options)))

t.test('metrics and loggers that throw do not change the outcome of a publish', async (t) => {
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
