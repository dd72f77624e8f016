import t from 'tap'
import { LocalPubSub } from '../../lib/pubsub/local-pubsub.ts'
import { providerContract } from './contract.ts'

providerContract(t, 'LocalPubSub', async (t) => {
  const provider = new LocalPubSub()
  t.teardown(() => provider.close())
  return { provider, peer: provider }
})
