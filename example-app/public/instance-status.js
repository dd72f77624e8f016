// @ts-check
import { SILENCE_MS } from './instance-history.js'

/** For how long something that went wrong is told. */
const TROUBLE_MS = 10_000

/** What each is called. */
export const words = { ok: 'OK', degraded: 'Degraded', down: 'Down', gone: 'Gone', unknown: 'Out of hearing' }

/** @typedef {keyof typeof words} Status */

/** What goes wrong while messages get through all the same, by its counter. @type {readonly (readonly [string, string])[]} */
const troubles = [
  ['pubsub_publish_failures_total', 'Publishes that failed'],
  ['realtime_resets_total', 'Streams told to reload'],
  ['realtime_slow_clients_total', 'Slow clients cut'],
  ['realtime_streams_refused_total', 'Streams refused'],
  ['pubsub_messages_ignored_total', 'Messages that are garbage']
]

/**
 * How an instance is, and why.
 *
 * @param {import('./instance-history.js').InstanceHistory} history
 * @param {number | undefined} hearingSince since when this page can hear every instance, or that it can't
 * @param {number} now
 * @returns {{ status: Status, reason: string }}
 */
export function statusOf (history, hearingSince, now) {
  const { heardAt = -Infinity, report } = history.last ?? {}
  if (report === undefined || now - heardAt > SILENCE_MS) {
    if (hearingSince === undefined || now - hearingSince <= SILENCE_MS) return { status: 'unknown', reason: 'This page can’t hear it right now' }
    return { status: 'gone', reason: 'It has fallen silent' }
  }
  if (!report.healthy) return { status: 'down', reason: reasonOf(report.connections) }
  const happened = troubles
    .map(([name, label]) => ({ label, count: history.increase(name, TROUBLE_MS, now) }))
    .filter(({ count }) => count > 0)
  if (happened.length > 0) return { status: 'degraded', reason: happened.map(({ label, count }) => `${label}: ${count}`).join(' · ') }
  return { status: 'ok', reason: 'Messages get through' }
}

/** @param {Record<string, boolean>} connections */
function reasonOf (connections) {
  const down = Object.keys(connections).filter((name) => !connections[name])
  return down.length === 0 ? 'Redis does not answer' : `Redis is not connected: ${down.join(' and ')}`
}
