// @ts-check
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { instanceOf } from './instance.js'

/** What all instances tell each other on. */
const CHANNEL = 'status'
const INTERVAL_MS = 1_000
/** How long an instance goes on telling after it has last heard of somebody who looks. */
const LINGER_MS = 5_000
/** The monitor measures from tick to tick, so each of its values has this one in it. */
const RESOLUTION_MS = 20

/**
 * @typedef {object} Report How an instance is.
 * @property {string} instanceId
 * @property {number} pages How many look at the health page by this instance.
 * @property {string} provider
 * @property {boolean} healthy Whether messages get through, as `GET /api/health/pubsub` says.
 * @property {Record<string, boolean>} connections Which connections to Redis are up.
 * @property {number} uptime Seconds.
 * @property {number} memory Bytes.
 * @property {number} loopDelay Milliseconds for which the event loop was late at most since the last report.
 * @property {Record<string, number>} metrics The plugin's metrics by their names; one with labels is the sum of its values.
 */

/**
 * The stream of the health page. Every instance tells on a channel how it is, and hands on what all of them tell, so the page shows
 * all from whichever one serves it. They tell only while somebody looks, anywhere.
 *
 * @param {import('fastify').FastifyInstance} app
 * @param {import('prom-client').Registry} registry that of the plugin
 */
export function statusRoutes (app, registry) {
  const instanceId = instanceOf(app)
  /** @type {Set<import('fastify').FastifyReply['sse']>} */
  const pages = new Set()
  const loop = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  let watchedUntil = 0
  let told = 0

  /** @param {{ data: Report, timestamp: number }} message */
  function hear ({ data: report, timestamp: at }) {
    if (report.pages > 0) watch()
    for (const page of pages) page.send({ event: 'report', data: { ...report, at } })
  }

  function watch () {
    watchedUntil = Date.now() + LINGER_MS
    loop.enable()
  }

  async function tell () {
    const report = await makeReport()
    // Who can't reach the others still shows itself. Publishing would fail, and say so in the log, every time.
    if (!report.healthy) return hear({ data: report, timestamp: Date.now() })
    await app.pubsub.publish(CHANNEL, report, { ephemeral: true })
    told++
  }

  /** @returns {Promise<Report>} */
  async function makeReport () {
    const healthy = await app.pubsub.isHealthy()
    const { metrics, connections } = await read(registry)
    const loopDelay = Math.max(0, loop.max / 1e6 - RESOLUTION_MS)
    loop.reset()
    return {
      instanceId,
      pages: pages.size,
      provider: app.pubsub.name,
      healthy,
      connections,
      uptime: process.uptime(),
      memory: process.memoryUsage.rss(),
      loopDelay,
      // These reports are not what anybody wants to see here.
      metrics: { ...metrics, pubsub_messages_published_total: (metrics.pubsub_messages_published_total ?? 0) - told }
    }
  }

  function watched () {
    return pages.size > 0 || Date.now() < watchedUntil
  }

  function tick () {
    if (watched()) tell().catch(() => {}) // The plugin has logged it.
    else loop.disable()
  }

  const unsubscribe = app.pubsub.subscribeExact(CHANNEL, hear)
  const timer = setInterval(tick, INTERVAL_MS).unref()
  app.addHook('preClose', async () => {
    clearInterval(timer)
    unsubscribe()
    loop.disable()
  })

  app.get('/api/status', { exposeHeadRoute: false }, async (_request, reply) => {
    const { sse } = reply
    await sse.send({ event: 'instance', data: { instanceId }, retry: INTERVAL_MS })
    if (sse.signal.aborted) return
    const first = !watched()
    pages.add(sse)
    sse.signal.addEventListener('abort', () => pages.delete(sse), { once: true })
    watch()
    if (first) tick()
  })
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
      // Those of a histogram have names of their own: with `_sum` and `_count`.
      const name = 'metricName' in sample ? String(sample.metricName) : metric
      metrics[name] = (metrics[name] ?? 0) + value
      if (metric === 'pubsub_redis_connected') connections[String(labels.connection)] = value === 1
    }
  }
  return { metrics, connections }
}
