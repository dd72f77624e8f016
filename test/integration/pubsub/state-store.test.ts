import t from 'tap'
import { LocalPubSub } from '../../../lib/pubsub/local/local-pubsub.ts'
import { RedisPubSub } from '../../../lib/pubsub/redis/redis-pubsub.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { stateContract } from './state-store.contract.ts'

const server = await RedisServer.start()
t.teardown(() => server.stop())

stateContract(t, 'the state of LocalPubSub', async (t, { keyPrefix, publishTimeoutMs, ...options } = {}) => {
  const provider = new LocalPubSub(options)
  t.teardown(() => provider.close())
  return provider
})

let count = 0

stateContract(t, 'the state of RedisPubSub', async (t, options) => {
  const provider = new RedisPubSub({ url: server.url, keyPrefix: `rt${count++}:`, ...options })
  t.teardown(() => provider.close())
  return provider
})
