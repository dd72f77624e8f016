// @ts-check
import { increase } from './instance-history.js'

/** @typedef {import('./instance-history.js').Measure} Measure */

/**
 * What the page shows a chart of: a name, what it is in a few words, the unit, how to read it, and up to which value a chart reaches at least, so that
 * next to nothing looks like next to nothing.
 *
 * @type {readonly { name: string, about: string, unit: string, measure: Measure, atLeast: number }[]}
 */
export const measures = [
  { name: 'Streams', about: 'Open event streams, those of health pages too', unit: '', measure: gauge('realtime_streams_open'), atLeast: 4 },
  { name: 'Rooms', about: 'Chats that somebody here listens to', unit: '', measure: gauge('realtime_chats_followed'), atLeast: 8 },
  { name: 'Published', about: 'Events published by this instance', unit: '/s', measure: rate('pubsub_messages_published_total'), atLeast: 2 },
  { name: 'Delivered', about: 'Events written, counted for each stream', unit: '/s', measure: rate('realtime_deliveries_total'), atLeast: 2 },
  { name: 'Publish time', about: 'From publishing to the receipt, on average', unit: 'ms', measure: mean('pubsub_publish_seconds'), atLeast: 5 },
  { name: 'Delivery lag', about: 'From publishing to being written to streams, on average', unit: 'ms', measure: mean('realtime_publish_to_write_seconds'), atLeast: 5 },
  { name: 'Memory', about: 'Resident memory of the process', unit: 'MB', measure: ({ memory }) => memory / 1e6, atLeast: 64 },
  { name: 'Loop delay', about: 'For how long the event loop was late at most', unit: 'ms', measure: ({ loopDelay }) => loopDelay, atLeast: 20 }
]

/** @param {string} name @returns {Measure} */
function gauge (name) {
  return ({ metrics }) => metrics[name]
}

/** A counter, for each second. @param {string} name @returns {Measure} */
function rate (name) {
  return (report, before) => increase(report, before, name) / (report.at - before.at) * 1_000
}

/** The mean of what a histogram of seconds has seen since, in milliseconds. @param {string} name @returns {Measure} */
function mean (name) {
  return (report, before) => {
    const count = increase(report, before, `${name}_count`)
    return count === 0 ? undefined : increase(report, before, `${name}_sum`) / count * 1_000
  }
}
