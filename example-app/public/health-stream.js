// @ts-check
/* global EventSource */

const RETRY_MS = 2_000

/**
 * @typedef {object} HealthHandlers
 * @property {(instanceId: string) => void} opened The stream is open, served by this instance.
 * @property {() => void} closed
 * @property {(report: import('./instance-history.js').Report) => void} report
 */

/** Opens the stream of reports, for as long as the page is open. @param {HealthHandlers} handlers */
export function followHealth (handlers) {
  const source = new EventSource('/api/status')
  source.addEventListener('instance', ({ data }) => handlers.opened(JSON.parse(data).instanceId))
  source.addEventListener('report', ({ data }) => handlers.report(JSON.parse(data)))
  source.addEventListener('error', () => {
    handlers.closed()
    // The browser does not retry if the response is not a stream, such as a 502 of a proxy.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => followHealth(handlers), RETRY_MS)
  })
}
