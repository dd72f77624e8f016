import t from 'tap'
import { RedisPubSub } from '../../../../lib/pubsub/redis/redis-pubsub.ts'
import { channelFeedContract, logContract, providerContract, statsContract } from '../../../../lib/contracts/index.ts'
import { keeps } from '../../../support/contract.ts'
import { RedisServer } from '../../../support/redis-server.ts'

const server = await RedisServer.start()
t.teardown(() => server.stop())

const make = (): [RedisPubSub, RedisPubSub] => {
  return [new RedisPubSub({ url: server.url }), new RedisPubSub({ url: server.url })]
}

keeps(t, 'RedisPubSub', providerContract(make))
keeps(t, 'RedisPubSub as a feed', channelFeedContract(make))
keeps(t, 'what RedisPubSub counts', statsContract(make))

let count = 0

keeps(
  t,
  'the log of RedisPubSub',
  logContract((options) => new RedisPubSub({ url: server.url, keyPrefix: `rt${count++}:`, ...options }))
)
