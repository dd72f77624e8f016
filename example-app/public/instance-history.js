// @ts-check

/** How long reports are kept, and how far the charts reach back. */
export const WINDOW_MS = 120_000
/** An instance reports every half second. One that is silent for longer than this has most likely stopped. */
export const SILENCE_MS = 1_200
/** Of reports closer together than this, only one is kept: they would make one event look like a high rate. */
const CLOSEST_MS = 250
/** Rates and averages are those of this many reports, which is one second. */
const SPAN = 2

/**
 * @typedef {import('../status.js').Report & { at: number }} Report `at` is when it was published, by its own clock.
 * @typedef {{ receivedAt: number, report: Report }} Received By the clock of this page.
 * @typedef {{ at: number, value: number | undefined }} Point `undefined` if there was nothing to measure.
 * @typedef {(report: Report, before: Report) => number | undefined} Measure Measures the time between two reports.
 */

/** The last reports of one instance. */
export class InstanceHistory {
  /** @type {Received[]} */
  #received = []

  /** @param {Report} report @param {number} now */
  add (report, now) {
    const { last } = this
    if (last === undefined || report.at - last.report.at >= CLOSEST_MS) this.#received.push({ receivedAt: now, report })
  }

  /** Drops what the charts no longer show. @param {number} now */
  trim (now) {
    while (this.#received[0] !== undefined && now - this.#received[0].receivedAt > WINDOW_MS) this.#received.shift()
  }

  get last () {
    return this.#received.at(-1)
  }

  /** The values of a chart. A silence of the instance ends a run. @param {Measure} measure @returns {Point[][]} */
  runs (measure) {
    /** @type {Point[][]} */
    const runs = []
    for (const [index, { receivedAt, report }] of this.#received.entries()) {
      const run = runs.at(-1)
      const before = this.#received[index - Math.min((run?.length ?? 0) + 1, SPAN)]?.report
      // A value needs an earlier report of the same run.
      if (this.#joins(index) && before !== undefined) run?.push({ at: receivedAt, value: measure(report, before) })
      else runs.push([])
    }
    return runs
  }

  /** The growth of a counter in the last milliseconds. @param {string} name @param {number} ms @param {number} now */
  increase (name, ms, now) {
    let sum = 0
    for (const [index, { receivedAt, report }] of this.#received.entries()) {
      const before = this.#received[index - 1]?.report
      if (before !== undefined && this.#joins(index) && now - receivedAt <= ms) sum += increase(report, before, name)
    }
    return sum
  }

  /** Whether no silence lies between a report and the one before it. @param {number} index */
  #joins (index) {
    const before = this.#received[index - 1]
    const { receivedAt } = /** @type {Received} */ (this.#received[index]) // Called with valid indexes only.
    return before !== undefined && receivedAt - before.receivedAt <= SILENCE_MS
  }
}

/**
 * The growth of a counter. It starts at 0 when its instance restarts.
 *
 * @param {Report} report
 * @param {Report} before
 * @param {string} name
 */
export function increase (report, before, name) {
  const value = report.metrics[name] ?? 0
  return report.uptime < before.uptime ? value : Math.max(0, value - (before.metrics[name] ?? 0))
}
