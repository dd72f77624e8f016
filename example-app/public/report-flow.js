// @ts-check
import { SILENCE_MS } from './instance-history.js'

/** Shorter than the silence after which an instance counts as stopped, so that an outage of Redis is noticed first. */
const LATE_MS = 700

/**
 * Whether the reports of all instances reach this page: its stream is open, and the instance that serves it is healthy
 * and receives its own reports. Only then does silence mean that an instance has stopped.
 */
export class ReportFlow {
  /** The instance that serves this page. */
  server = ''
  live = false
  /** @type {number | undefined} */
  #since
  #last = -Infinity

  /** @param {string} server */
  opened (server) {
    this.server = server
    this.live = true
    this.#since = undefined
  }

  closed () {
    this.live = false
    this.#since = undefined
  }

  /** @param {import('./instance-history.js').Report} report @param {number} now */
  received ({ instanceId, healthy }, now) {
    if (instanceId !== this.server) return
    const continuous = healthy && now - this.#last <= SILENCE_MS
    this.#since = healthy ? (continuous ? this.#since : undefined) ?? now : undefined
    this.#last = now
  }

  /** Whether all reports have reached this page for long enough to notice a silence. @param {number} now */
  complete (now) {
    return this.#since !== undefined && now - this.#since > SILENCE_MS && now - this.#last <= LATE_MS
  }
}
