import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { Access, type Authorize } from './http/access.ts'
import type { ChatEvents } from './chat/chat-events.ts'
import { RealtimeError } from './errors.ts'
import { resolveOptions, type RealtimeOptions } from './options.ts'
import { exportMetrics } from './observability/prometheus.ts'
import type { PubSubProvider } from './pubsub/provider.ts'
import { streamRoutes } from './http/stream-routes.ts'
import { botMessageRoute } from './http/bot-message-route.ts'
import { historyRoute } from './http/history-route.ts'
import { Downloads } from './http/downloads.ts'
import { publishRoute } from './http/publish-route.ts'
import { healthRoute } from './http/health-route.ts'
import { ConnectionRegistry } from './sse/connection-registry.ts'
import { ChunkEncoder } from './sse/frame.ts'
import { endStreamsOfFailedHandlers } from './http/failed-handlers.ts'
import { ReplySse, type SseContext } from './http/reply-sse.ts'
import { GracefulShutdown } from './http/graceful-shutdown.ts'
import { StreamLimits } from './sse/stream-limits.ts'
import { adoptRealtime, releaseRealtime } from './standalone.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Sends messages between instances. */
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
  // Checked before anything is opened: a second `decorate` call would throw and leave connections open.
  if (app.hasDecorator('chatEvents')) throw new RealtimeError('RT_REGISTERED_TWICE')
  const used = adoptRealtime(options, app.log)
  app.addHook('onClose', async () => { await releaseRealtime(used) })

  const { chatEvents, metrics, pubsub } = used
  const connections = new ConnectionRegistry({ ...options, metrics })
  const accessBy = (authorize: Authorize | undefined): Access => {
    const access = new Access({
      authorize, log: app.log, watchRevocations: (listener) => chatEvents.revocations.watch(listener)
    })
    app.addHook('onClose', async () => { access.close() })
    return access
  }
  const access = accessBy(options.authorize)
  if (options.authorize === undefined && process.env.NODE_ENV === 'production') {
    app.log.warn('Anyone can open any chat: set the option authorize, or protect the routes yourself')
  }
  const context: SseContext = {
    ...options,
    connections,
    limits: new StreamLimits(options, app.log),
    metrics,
    chunks: new ChunkEncoder(),
    onSlow: () => { metrics.slow++ },
    authorize: (request, chatIds) => access.check(request, chatIds),
    entrances: chatEvents.entrances,
    botMessages: chatEvents
  }

  app.decorate('pubsub', pubsub)
  app.decorate('chatEvents', chatEvents)
  decorateReplies(app, context)
  const unwatchHandlers = endStreamsOfFailedHandlers()
  app.addHook('onClose', async () => { unwatchHandlers() })

  streamRoutes(app, options.prefix, options.routeOptions)
  const downloads = new Downloads(context, new StreamLimits(options, app.log))
  botMessageRoute(app, options.prefix, downloads, options.routeOptions)
  historyRoute(app, options.prefix, downloads, options.routeOptions)
  healthRoute(app, options.prefix, options.routeOptions)
  if (options.publishRoute !== false) {
    publishRoute(app, options.prefix, { ...options, access: accessBy(options.publishRoute.authorize) })
  }

  const { outbox } = options
  if (options.metrics !== undefined) {
    const unsubscribe = await exportMetrics(options.metrics, { metrics, connections, chatEvents, pubsub, outbox })
    app.addHook('onClose', async () => { unsubscribe() })
  }

  if (outbox !== undefined) {
    app.addHook('onReady', async () => {
      const relay = outbox.startRelay({ chatEvents, log: app.log })
      app.addHook('onClose', async () => { await relay.stop() })
    })
  }

  shutDownGracefully(app, chatEvents, connections)
}

function decorateReplies (app: FastifyInstance, context: SseContext): void {
  // Set for each request: a getter would break apps that also use @fastify/sse, which sets `reply.sse` on its routes.
  app.decorateReply('sse', null as unknown as ReplySse)
  app.addHook('onRequest', (request, reply, done) => {
    reply.sse = new ReplySse(request, reply, context)
    done()
  })
}

/** Lets bot messages end, then ends all streams, before the app closes its server. */
function shutDownGracefully (app: FastifyInstance, chatEvents: ChatEvents, connections: ConnectionRegistry): void {
  const shutdown = new GracefulShutdown(app.server)
  // Close handlers run in reverse order of registration. Registered in `onReady`, this one runs first: before the
  // `preClose` hooks of any plugin, and before Fastify starts to respond with 503.
  app.addHook('onReady', async () => {
    app.addHook('onClose', async () => {
      shutdown.begin()
      // Not in a `preClose` hook: all of them together must not take longer than Fastify's option `pluginTimeout`.
      await chatEvents.drain()
    })
  })
  app.addHook('preClose', async () => { await connections.drain() })
  app.addHook('onClose', async () => { shutdown.stop() })
}

/** The plugin. See `RealtimeOptions`. */
export const realtimePlugin = fp(realtime, { name: 'fastify-realtime', fastify: '5.x' })
export default realtimePlugin
