// @ts-check

/** @param {number[]} values */
export function median (values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? /** @type {number} */ (sorted[middle]) : (/** @type {number} */ (sorted[middle - 1]) + /** @type {number} */ (sorted[middle])) / 2
}

/**
 * The median of the ratios in each round: what a round has in common, such as a busy machine, cancels out.
 * @param {number[]} values
 * @param {number[]} others
 */
export function ratio (values, others) {
  return median(values.map((value, round) => value / /** @type {number} */ (others[round])))
}
