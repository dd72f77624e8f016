// @ts-check
import { uncertainty, ratios } from './statistics.js'

/** @typedef {number | Record<string, number>} Measured One figure, or several by name. */

/** The share of a ratio by which it may be uncertain. More rounds follow until it is less. */
const TOLERANCE = 0.02

/**
 * Measures each contender once in each round, in another order each time. Ends after `least` rounds if all ratios of
 * the first contender to the others are certain, and otherwise after `most`.
 * @template {{ name: string }} Contender
 * @template {Measured} Value
 * @param {Contender[]} field
 * @param {import('./run.js').Context} context
 * @param {(contender: Contender, round: number) => Promise<Value>} measure
 * @returns {Promise<Record<string, Value[]>>} The values of each contender, one for each round.
 */
export async function takeTurns (field, { rounds: { least, most } }, measure) {
  const values = Object.fromEntries(field.map(({ name }) => [name, /** @type {Value[]} */ ([])]))
  // The first round warms up.
  for (let round = -1; round < least || (round < most && !certain(values)); round++) {
    for (const contender of rotate(field, round)) {
      const value = await measure(contender, round)
      if (round >= 0) values[contender.name]?.push(value)
    }
  }
  return values
}

/** @param {Record<string, Measured[]>} values */
function certain (values) {
  const [own = [], ...others] = Object.values(values)
  return others.every((other) => figuresOf(own).every((figure) =>
    uncertainty(ratios(pick(own, figure), pick(other, figure))) <= TOLERANCE))
}

/**
 * Returns the names of the figures of a list of values.
 * @param {Measured[]} values
 */
function figuresOf ([first = {}]) {
  return typeof first === 'number' ? [''] : Object.keys(first)
}

/**
 * @param {Measured[]} values
 * @param {string} figure
 */
export function pick (values, figure) {
  return values.map((value) => typeof value === 'number' ? value : /** @type {number} */ (value[figure]))
}

/**
 * Returns the list in another order for each round, so that no contender always comes first.
 * @template T
 * @param {T[]} list
 * @param {number} by
 */
function rotate (list, by) {
  const at = (by + list.length) % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}
