// @ts-check
/* global EventSource */

const RETRY_MS = 2_000

/**
 * @typedef {object} HealthHandlers
 * @property {(live: boolean) => void} state
 * @property {(instanceId: string) => void} instance Who serves this page.
 * @property {(report: import('./instance-history.js').Report) => void} report How an instance is.
 */

/** Opens the stream of reports, for as long as the page is open. @param {HealthHandlers} handlers */
export function followHealth ({ state, instance, report }) {
  const source = new EventSource('/api/status')
  source.addEventListener('instance', ({ data }) => {
    instance(JSON.parse(data).instanceId)
    state(true)
  })
  source.addEventListener('report', ({ data }) => report(JSON.parse(data)))
  source.addEventListener('error', () => {
    state(false)
    // The browser gives up for good where the answer was no stream, such as 502 from a proxy.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => followHealth({ state, instance, report }), RETRY_MS)
  })
}
