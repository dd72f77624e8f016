// @ts-check

/** The reasons of a `reset`: why the room was loaded from the database. @type {Record<string, string>} */
export const RESET_REASONS = {
  epoch: 'The room has a new log, for example because the server was restarted.',
  ahead: 'The log ends before the last message that this page has received.',
  diverged: 'The log has another message in the place of the last one that this page has received.',
  expired: 'The log expired while this page was disconnected.',
  trimmed: 'The log no longer reaches back to the last message that this page has received.',
  invalid: 'The server does not know the position that this page asked for.',
  failover: 'Redis was restarted, or another Redis took over.',
  'no-history': 'The server keeps no history.'
}
