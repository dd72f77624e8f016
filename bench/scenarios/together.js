// @ts-check
import { pick } from '../turns.js'

/** @typedef {Record<string, number>} Measured What was measured in a round, by what follows the first `-` of a name. */

/**
 * Several scenarios that are measured in the same rounds.
 * @param {object} shape
 * @param {string} shape.title
 * @param {Record<string, string>} shape.units The unit of each scenario, by its name.
 * @param {string} [shape.subject]
 * @param {string[]} [shape.more] The names of the scenarios in which more is better.
 * @param {Record<string, Record<string, number>>} [shape.targets] The targets of a scenario, by its name.
 * @param {Record<string, Record<string, number>>} [shape.limits] The limits of a scenario, by its name.
 * @param {() => string | undefined} shape.missing
 * @param {(context: import('../run.js').Context) => Promise<Record<string, Measured[]>>} shape.measure
 * @returns {Record<string, import('../run.js').Scenario>}
 */
export function together ({ title, units, subject, more = [], targets = {}, limits = {}, missing, measure }) {
  /** @type {Promise<Record<string, Measured[]>> | undefined} */
  let measured
  return Object.fromEntries(Object.entries(units).map(([name, unit]) => [name, {
    title,
    unit,
    subject,
    more: more.includes(name),
    targets: targets[name] ?? {},
    limits: limits[name] ?? {},
    missing,
    async run (context) {
      const all = await (measured ??= measure(context))
      const kind = name.slice(name.indexOf('-') + 1)
      return Object.fromEntries(Object.entries(all).map(([contender, rounds]) => [contender, pick(rounds, kind)]))
    }
  }]))
}
