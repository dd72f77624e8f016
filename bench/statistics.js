// @ts-check

/** @param {number[]} values */
export function median (values) {
  return quantile(values, 0.5)
}

/**
 * @param {number[]} values
 * @param {number} share From 0 to 1.
 */
function quantile (values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  const at = share * (sorted.length - 1)
  const below = /** @type {number} */ (sorted[Math.floor(at)])
  const above = /** @type {number} */ (sorted[Math.ceil(at)])
  return below + (above - below) * (at % 1)
}

/**
 * Returns the ratio of each round. A busy machine slows down a whole round, so it cancels out.
 * @param {number[]} values
 * @param {number[]} others
 */
export function ratios (values, others) {
  return values.map((value, round) => value / /** @type {number} */ (others[round]))
}

/**
 * Returns the standard error of the median as a share of it, estimated from the quartiles, which a single bad round
 * does not move. It is unknown, and so infinite, for fewer than three values.
 * @param {number[]} values
 */
export function uncertainty (values) {
  if (values.length < 3) return Infinity
  const spread = quantile(values, 0.75) - quantile(values, 0.25)
  // For a normal distribution: the quartiles are 1.349 σ apart, and the median's standard error is 1.253 σ / √n.
  return spread / 1.349 * 1.253 / Math.sqrt(values.length) / Math.abs(median(values))
}
