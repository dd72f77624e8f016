import t from 'tap'
import { RedisPubSub } from '../../lib/pubsub/redis-pubsub.ts'
import { RedisServer } from '../support/redis-server.ts'
import { providerContract } from './contract.ts'

const server = await RedisServer.start()
t.teardown(() => server.stop())

providerContract(t, 'RedisPubSub', async (t) => {
  const [provider, peer] = [new RedisPubSub({ url: server.url }), new RedisPubSub({ url: server.url })]
  t.teardown(async () => { await Promise.all([provider.close(), peer.close()]) })
  return { provider, peer }
})
