// @ts-check
import { duration, number } from './format.js'

/** @typedef {import('./instance-history.js').Report} Report */

/**
 * What the page shows of an instance without a chart.
 *
 * @type {readonly { name: string, text: (report: Report) => string }[]}
 */
export const facts = [
  { name: 'Provider', text: ({ provider }) => provider },
  { name: 'Redis', text: ({ connections }) => redis(Object.values(connections)) },
  { name: 'Uptime', text: ({ uptime }) => duration(uptime) },
  { name: 'Streams opened', text: total('realtime_streams_opened_total') },
  { name: 'Resets sent', text: total('realtime_resets_total') },
  { name: 'Log re-reads', text: total('realtime_resyncs_total') },
  { name: 'Failed publishes', text: total('pubsub_publish_failures_total') },
  { name: 'Slow clients disconnected', text: total('realtime_slow_clients_total') }
]

/** @param {readonly boolean[]} connections */
function redis (connections) {
  if (connections.length === 0) return 'not used'
  return `${connections.filter(Boolean).length} of ${connections.length} connected`
}

/** @param {string} metric @returns {(report: Report) => string} */
function total (metric) {
  return ({ metrics }) => number(metrics[metric] ?? 0)
}
