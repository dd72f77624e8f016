import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { ChatEvents } from './chat-events.ts'
import { resolveOptions, type RealtimeOptions } from './options.ts'
import type { PubSubProvider } from './pubsub/provider.ts'
import { eventsRoute } from './routes/events.ts'
import { healthRoute } from './routes/health.ts'
import { Connections } from './sse/connections.ts'
import { ReplySse } from './sse/reply-sse.ts'
import { ServerShutdown } from './sse/server-shutdown.ts'
import { adoptRealtime, releaseRealtime } from './standalone.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Carries messages between instances. */
    pubsub: PubSubProvider
    /** Publishes and receives the events of chats. */
    chatEvents: ChatEvents
  }
  interface FastifyReply {
    /** Turns the reply into an event stream. */
    sse: ReplySse
  }
}

const realtime: FastifyPluginAsync<RealtimeOptions> = async (app, given) => {
  const options = resolveOptions(given)
  const { prefix, heartbeatMs, drainTimeoutMs, maxBufferedBytes, retryMs } = options
  const used = adoptRealtime(options, app.log)
  const connections = new Connections(heartbeatMs)
  const context = { connections, maxBufferedBytes, retryMs, enter: (chatId: string) => used.chatEvents.enter(chatId) }

  app.decorate('pubsub', used.pubsub)
  app.decorate('chatEvents', used.chatEvents)
  // Set per request: a getter would break apps that also use @fastify/sse, which sets `reply.sse` on its routes.
  app.decorateReply('sse', null as unknown as ReplySse)
  app.addHook('onRequest', (request, reply, done) => {
    reply.sse = new ReplySse(request, reply, context)
    done()
  })

  eventsRoute(app, prefix)
  healthRoute(app, prefix)

  const shutdown = new ServerShutdown(app.server)
  app.addHook('preClose', async () => {
    shutdown.begin()
    await connections.drain(drainTimeoutMs)
  })
  app.addHook('onClose', async () => { await releaseRealtime(used) })
}

/** The plugin. See `RealtimeOptions`. */
export const realtimePlugin = fp(realtime, { name: 'fastify-realtime', fastify: '5.x' })
export default realtimePlugin
