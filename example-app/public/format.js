// @ts-check

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const exact = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })

/** @param {number | undefined} value */
export function number (value) {
  return value === undefined ? '–' : (value < 10 ? exact : whole).format(value)
}

/** @param {number} seconds */
export function duration (seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  return `${Math.floor(seconds / 3_600)} h ${Math.floor(seconds % 3_600 / 60)} min`
}
