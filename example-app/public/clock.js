// @ts-check

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' })
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

/** @param {number} at */
export const timeOf = (at) => time.format(at)

/** @param {number} at */
export const fullTimeOf = (at) => full.format(at)

/** @param {number} at */
export function dayOf (at) {
  if (sameDay(at, Date.now())) return 'Today'
  return day.format(at)
}

/** @param {number} a @param {number} b */
export function sameDay (a, b) {
  return new Date(a).toDateString() === new Date(b).toDateString()
}
