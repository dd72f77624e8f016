// @ts-check
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { instanceOf } from './instance.js'

/** The monitor measures from tick to tick, so each of its values includes this time. */
const RESOLUTION_MS = 20

/**
 * @typedef {object} Report The state of an instance.
 * @property {string} instanceId
 * @property {number} pages The number of health pages that this instance serves.
 * @property {string} provider
 * @property {boolean} healthy Whether messages can be published and received, as `GET /api/health/pubsub` answers.
 * @property {Record<string, boolean>} connections Whether each connection to Redis is open.
 * @property {number} uptime Seconds.
 * @property {number} memory Bytes.
 * @property {number} loopDelay The longest delay of the event loop since the last report, in milliseconds.
 * @property {Record<string, number>} metrics The plugin's metrics by name. One with labels is the sum of its values.
 */

/** Measures this instance. */
export class StatusReports {
  #app
  #registry
  #loop = monitorEventLoopDelay({ resolution: RESOLUTION_MS })

  /**
   * @param {import('fastify').FastifyInstance} app
   * @param {import('prom-client').Registry} registry the plugin's
   */
  constructor (app, registry) {
    this.#app = app
    this.#registry = registry
  }

  start () {
    this.#loop.enable()
  }

  stop () {
    this.#loop.disable()
  }

  /**
   * @param {number} pages
   * @param {number} published how many reports were published; they are not counted as events
   * @returns {Promise<Report>}
   */
  async next (pages, published) {
    const healthy = await this.#app.pubsub.isHealthy()
    const { metrics, connections } = await read(this.#registry)
    const loopDelay = Math.max(0, this.#loop.max / 1e6 - RESOLUTION_MS)
    this.#loop.reset()
    const events = (metrics.pubsub_messages_published_total ?? 0) - published
    return {
      instanceId: instanceOf(this.#app),
      pages,
      provider: this.#app.pubsub.name,
      healthy,
      connections,
      uptime: process.uptime(),
      memory: process.memoryUsage.rss(),
      loopDelay,
      metrics: { ...metrics, pubsub_messages_published_total: events }
    }
  }
}

/** @param {import('prom-client').Registry} registry */
async function read (registry) {
  /** @type {Record<string, number>} */
  const metrics = {}
  /** @type {Record<string, boolean>} */
  const connections = {}
  for (const { name: metric, values } of await registry.getMetricsAsJSON()) {
    metrics[metric] = 0
    for (const sample of values) {
      const { labels, value } = sample
      if ('le' in labels) continue
      // The values of a histogram have names of their own, with `_sum` and `_count`.
      const name = 'metricName' in sample ? String(sample.metricName) : metric
      metrics[name] = (metrics[name] ?? 0) + value
      if (metric === 'pubsub_redis_connected') connections[String(labels.connection)] = value === 1
    }
  }
  return { metrics, connections }
}
