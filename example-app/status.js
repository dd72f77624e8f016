// @ts-check
import { instanceOf } from './instance.js'
import { StatusReports } from './status-report.js'

/** The channel on which all instances publish their reports. */
const CHANNEL = 'status'
/** The health page shows an instance as stopped after 1.2 seconds without a report. */
const INTERVAL_MS = 500
/** How long an instance continues to publish after the last report of an instance that serves a health page. */
const LINGER_MS = 5_000
/** How soon a health page reconnects. */
const RETRY_MS = 250

/** @typedef {import('./status-report.js').Report} Report */

/**
 * The stream of the health page. Every instance publishes its reports and forwards the reports of all instances, so the
 * page shows all of them. Reports are published only while a health page is open on one of the instances.
 *
 * @param {import('fastify').FastifyInstance} app
 * @param {import('prom-client').Registry} registry the plugin's
 */
export function statusRoutes (app, registry) {
  const status = new StatusFeed(app, registry)
  app.addHook('preClose', async () => status.close())

  app.get('/api/status', { exposeHeadRoute: false }, async (_request, reply) => {
    const { sse } = reply
    await sse.send({ event: 'instance', data: { instanceId: instanceOf(app) }, retry: RETRY_MS })
    if (!sse.signal.aborted) status.add(sse)
  })
}

class StatusFeed {
  #pubsub
  #reports
  /** @type {Set<import('fastify').FastifyReply['sse']>} */
  #pages = new Set()
  #watchedUntil = 0
  #published = 0
  #timer = setInterval(() => this.#tick(), INTERVAL_MS).unref()
  #unsubscribe

  /** @param {import('fastify').FastifyInstance} app @param {import('prom-client').Registry} registry */
  constructor (app, registry) {
    this.#pubsub = app.pubsub
    this.#reports = new StatusReports(app, registry)
    this.#unsubscribe = app.pubsub.subscribeExact(CHANNEL, ({ data, timestamp }) => {
      this.#forward(/** @type {Report} */ (data), timestamp) // All instances run this code.
    })
  }

  /** @param {import('fastify').FastifyReply['sse']} page */
  add (page) {
    this.#pages.add(page)
    page.signal.addEventListener('abort', () => this.#pages.delete(page), { once: true })
    this.#watch()
    // The page needs a report of its own server before it can judge the silence of other instances.
    this.#tick()
  }

  close () {
    clearInterval(this.#timer)
    this.#unsubscribe()
    this.#reports.stop()
  }

  get #watched () {
    return this.#pages.size > 0 || Date.now() < this.#watchedUntil
  }

  #watch () {
    this.#watchedUntil = Date.now() + LINGER_MS
    this.#reports.start()
  }

  #tick () {
    if (this.#watched) this.#publish().catch(() => {}) // The plugin logs it.
    else this.#reports.stop()
  }

  async #publish () {
    const report = await this.#reports.next(this.#pages.size, this.#published)
    // Publishing would fail, and each failure would be logged. This instance can still show its own state.
    if (!report.healthy) return this.#forward(report, Date.now())
    await this.#pubsub.publish(CHANNEL, report, { ephemeral: true })
    this.#published++
  }

  /** @param {Report} report @param {number} at */
  #forward (report, at) {
    if (report.pages > 0) this.#watch()
    for (const page of this.#pages) page.send({ event: 'report', data: { ...report, at } })
  }
}
