import { RedisPubSub, type PubSubMessage } from '../../../../lib/index.ts'

/** The next message on a channel. */
export function next (pubsub: RedisPubSub, channel: string): Promise<PubSubMessage> {
  return new Promise((resolve) => {
    const unsubscribe = pubsub.subscribeExact(channel, (message) => { unsubscribe(); resolve(message) })
  })
}
