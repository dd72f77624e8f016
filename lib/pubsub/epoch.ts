import { randomBytes } from 'node:crypto'

const boot = randomBytes(5).toString('hex')
let count = 0

/**
 * Makes a unique name for a new log: 16 hexadecimal digits. The first ten are random for each process, the rest count
 * the calls.
 */
export function newEpoch (): string {
  count = (count + 1) % 2 ** 24
  return boot + count.toString(16).padStart(6, '0')
}

/**
 * Returns a random number of 47 bits, which has at most 15 decimal digits, so that both JavaScript and Lua represent
 * it exactly. It only has to be distinct, not secret.
 */
export function randomTag (): number {
  return 1 + Math.floor(Math.random() * (2 ** 47 - 1))
}
