// @ts-check
import { sameDay, timeOf } from './clock.js'
import { make } from './dom.js'

/** The reasons of a `reset`. They describe the log. Only `certain` says whether messages are missing. */
const REASONS = /** @type {Record<string, string>} */ ({
  epoch: 'The room has a new log, for example because the server was restarted.',
  ahead: 'The log ends before the last message that this page has received.',
  diverged: 'The log has another message in the place of the last one that this page has received.',
  expired: 'The log expired while this page was disconnected.',
  trimmed: 'The log no longer reaches back to the last message that this page has received.',
  invalid: 'The server does not know the position that this page asked for.',
  failover: 'Redis was restarted, or another Redis took over.',
  'no-history': 'The server keeps no history.'
})

/** Marks where messages are missing, or may be. @param {import('./room-history.js').GapEntry} gap */
export function gapRow ({ from, to, certain, reason }) {
  const moment = timeOf(from) === timeOf(to) && sameDay(from, to)
  const when = moment ? `around ${timeOf(from)}` : `between ${timeOf(from)} and ${timeOf(to)}`
  const text = `Messages sent ${when} ${certain ? 'are' : 'may be'} missing here`
  const explanation = REASONS[reason] ?? `Reason: ${reason}.`
  return make('li', 'gap', make('p', '', make('strong', '', text), make('span', '', explanation)))
}
