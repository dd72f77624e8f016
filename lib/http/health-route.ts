import type { FastifyInstance } from 'fastify'
import type { HealthReport, HealthReporting, PubSubProvider, PubSubStats } from '../pubsub/provider.ts'
import { withTimeout } from '../core/with-timeout.ts'
import { routeDescriptions } from './route-descriptions.ts'
import { describedRouteOptions, type RealtimeRouteOptions } from './route-options.ts'
import { timing } from '../core/timing.ts'

/** `GET {prefix}/health/pubsub`: responds with 200 if messages can be published and received, otherwise with 503. */
export function healthRoute (app: FastifyInstance, prefix: string, given?: RealtimeRouteOptions): void {
  const options = describedRouteOptions(routeDescriptions.health, given)
  app.get(`${prefix}/health/pubsub`, options, async (_request, reply) => {
    const pubsub: PubSubProvider & Partial<PubSubStats & HealthReporting> = app.pubsub
    const check = async (): Promise<HealthReport> => await pubsub.health?.() ?? { healthy: await pubsub.isHealthy() }
    // A custom provider may hang, reject or throw.
    const { healthy, error } = await withTimeout(check(), timing.healthTimeout)
      .catch((): HealthReport => ({ healthy: false }))
    // A cached response would hide an outage or its end.
    reply.code(healthy ? 200 : 503).header('cache-control', 'no-store')
    return {
      status: healthy ? 'ok' : 'error',
      provider: pubsub.name,
      healthy,
      ...error && { error },
      // A custom provider may have no `stats`.
      stats: pubsub.stats?.() ?? { channels: null, patterns: null },
      chatSubscriptions: app.chatEvents.stats(),
      timestamp: new Date().toISOString()
    }
  })
}
