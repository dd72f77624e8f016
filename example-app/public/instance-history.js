// @ts-check

/** For how long reports are kept, and how far the charts reach back. */
export const WINDOW_MS = 120_000

/** An instance tells once a second how it is. One that is silent for longer is most likely no more. */
export const SILENCE_MS = 4_000
/** Of reports that come closer together only one is kept: in next to no time, one event would be a great many a second. */
const CLOSEST_MS = 500

/** @typedef {import('../status.js').Report & { at: number }} Report `at` is when it was published, by the clock of its instance. */
/** @typedef {{ heardAt: number, report: Report }} Heard By the clock of this page. */
/** @typedef {{ at: number, value: number | undefined }} Point */
/** @typedef {(report: Report, before: Report) => number | undefined} Measure What a report, or the time since the one before, says. */

/** The last reports of one instance. */
export class InstanceHistory {
  /** @type {Heard[]} */
  #heard = []

  /** @param {Report} report @param {number} now */
  add (report, now) {
    const last = this.#heard.at(-1)
    if (last === undefined || report.at - last.report.at >= CLOSEST_MS) this.#heard.push({ heardAt: now, report })
  }

  /** Forgets what the charts don't show any more. @param {number} now */
  trim (now) {
    while (this.#heard[0] !== undefined && now - this.#heard[0].heardAt > WINDOW_MS) this.#heard.shift()
  }

  get last () {
    return this.#heard.at(-1)
  }

  /** What was measured, with `undefined` where there was nothing to measure, as after a silence. @param {Measure} measure @returns {Point[]} */
  points (measure) {
    return this.#heard.map(({ heardAt, report }, index) => {
      const before = this.#heard[index - 1]
      const joins = before !== undefined && heardAt - before.heardAt <= SILENCE_MS
      return { at: heardAt, value: joins ? measure(report, before.report) : undefined }
    })
  }

  /** By how much a counter has grown within the last so many milliseconds. @param {string} name @param {number} ms @param {number} now */
  increase (name, ms, now) {
    return this.points((report, before) => increase(report, before, name))
      .reduce((sum, { at, value = 0 }) => now - at > ms ? sum : sum + value, 0)
  }
}

/** By how much a counter has grown. It begins anew with its instance. @param {Report} report @param {Report} before @param {string} name */
export function increase (report, before, name) {
  const value = report.metrics[name] ?? 0
  return report.uptime < before.uptime ? value : Math.max(0, value - (before.metrics[name] ?? 0))
}
