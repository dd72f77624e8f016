// @ts-check

/** @param {number[]} values */
export function median (values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const at = (/** @type {number} */ index) => /** @type {number} */ (sorted[index])
  return sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2
}

/**
 * Returns the median of the ratios of all rounds. A busy machine slows down a whole round, so it cancels out.
 * @param {number[]} values
 * @param {number[]} others
 */
export function ratio (values, others) {
  return median(values.map((value, round) => value / /** @type {number} */ (others[round])))
}
