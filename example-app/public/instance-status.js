// @ts-check
import { SILENCE_MS } from './instance-history.js'

const list = new Intl.ListFormat('en')

/** How long a failure is shown. */
const TROUBLE_MS = 10_000

/** The label of each status. */
export const labels = { ok: 'OK', degraded: 'Degraded', down: 'Down', stopped: 'Stopped', unknown: 'Unknown' }

/** @typedef {keyof typeof labels} Status */

/** Failures of an instance whose messages are delivered all the same, by their counters. */
const troubles = /** @type {const} */ ([
  ['pubsub_publish_failures_total', 'Failed publishes'],
  ['realtime_resets_total', 'Resets sent'],
  ['realtime_slow_clients_total', 'Slow clients disconnected'],
  ['realtime_streams_refused_total', 'Streams refused'],
  ['pubsub_messages_ignored_total', 'Invalid messages ignored']
])

/**
 * The status of an instance, and its reason.
 *
 * @param {import('./instance-history.js').InstanceHistory} history
 * @param {boolean} complete whether the reports of all instances reach this page
 * @param {number} now
 * @returns {{ status: Status, reason: string }}
 */
export function statusOf (history, complete, now) {
  const { receivedAt = -Infinity, report } = history.last ?? {}
  if (report === undefined || now - receivedAt > SILENCE_MS) {
    if (complete) return { status: 'stopped', reason: 'It has stopped reporting' }
    return { status: 'unknown', reason: 'Its reports do not reach this page' }
  }
  if (!report.healthy) return { status: 'down', reason: reasonOf(report.connections) }
  const happened = troubles
    .map(([name, label]) => ({ label, count: history.increase(name, TROUBLE_MS, now) }))
    .filter(({ count }) => count > 0)
  if (happened.length === 0) return { status: 'ok', reason: 'Messages are published and received' }
  return { status: 'degraded', reason: happened.map(({ label, count }) => `${label}: ${count}`).join(' · ') }
}

/** @param {Record<string, boolean>} connections */
function reasonOf (connections) {
  const down = Object.keys(connections).filter((name) => !connections[name])
  return down.length === 0 ? 'Redis does not respond' : `Redis is not connected: ${list.format(down)}`
}
