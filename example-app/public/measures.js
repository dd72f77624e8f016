// @ts-check
import { increase } from './instance-history.js'

/**
 * @typedef {import('./instance-history.js').Measure} Measure
 *
 * @typedef {object} TileMeasure
 * @property {string} name
 * @property {string} about
 * @property {string} unit
 * @property {Measure} measure
 * @property {number} atLeast The least height of the chart, so that small values look small.
 */

/** The measures with a chart. @type {readonly TileMeasure[]} */
export const measures = [
  {
    name: 'Streams',
    about: 'Open event streams, including those of health pages',
    unit: '',
    measure: gauge('realtime_streams_open'),
    atLeast: 4
  },
  {
    name: 'Rooms',
    about: 'Chats that this instance follows',
    unit: '',
    measure: gauge('realtime_chats_followed'),
    atLeast: 8
  },
  {
    name: 'Published',
    about: 'Events published by this instance',
    unit: '/s',
    measure: rate('pubsub_messages_published_total'),
    atLeast: 2
  },
  {
    name: 'Delivered',
    about: 'Events written, counted for each stream',
    unit: '/s',
    measure: rate('realtime_deliveries_total'),
    atLeast: 2
  },
  {
    name: 'Publish time',
    about: 'From the call to the receipt, on average',
    unit: 'ms',
    measure: mean('pubsub_publish_seconds'),
    atLeast: 5
  },
  {
    name: 'Delivery lag',
    about: 'From the call of publish to the write to a stream, on average',
    unit: 'ms',
    measure: mean('realtime_publish_to_write_seconds'),
    atLeast: 5
  },
  {
    name: 'Memory',
    about: 'Resident memory of the process',
    unit: 'MB',
    measure: ({ memory }) => memory / 1e6,
    atLeast: 64
  },
  {
    name: 'Loop delay',
    about: 'Longest delay of the event loop',
    unit: 'ms',
    measure: ({ loopDelay }) => loopDelay,
    atLeast: 20
  }
]

/** @param {string} metric @returns {Measure} */
function gauge (metric) {
  return ({ metrics }) => metrics[metric]
}

/** The growth of a counter per second. @param {string} metric @returns {Measure} */
function rate (metric) {
  return (report, before) => increase(report, before, metric) / (report.at - before.at) * 1_000
}

/**
 * The average of the new values of a histogram of seconds, in milliseconds.
 *
 * @param {string} metric
 * @returns {Measure}
 */
function mean (metric) {
  return (report, before) => {
    const count = increase(report, before, `${metric}_count`)
    return count === 0 ? undefined : increase(report, before, `${metric}_sum`) / count * 1_000
  }
}
