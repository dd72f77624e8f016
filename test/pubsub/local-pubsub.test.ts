import t from 'tap'
import { LocalPubSub } from '../../lib/pubsub/local-pubsub.ts'
import { liveFeedContract, logContract, providerContract, statsContract } from '../../lib/testing/index.ts'
import { keeps } from '../support/contract.ts'

const make = (): LocalPubSub => new LocalPubSub()

keeps(t, 'LocalPubSub', providerContract(make))
keeps(t, 'LocalPubSub as a feed', liveFeedContract(make))
keeps(t, 'what LocalPubSub counts', statsContract(make))
keeps(t, 'the log of LocalPubSub', logContract((options) => new LocalPubSub(options)))
