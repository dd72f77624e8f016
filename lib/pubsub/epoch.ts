import { randomBytes } from 'node:crypto'

const boot = randomBytes(5).toString('hex')
let count = 0

/** A name for a new log, that no other process and no other call gives: the start of each is random. 16 hexadecimal digits. */
export function newEpoch (): string {
  count = (count + 1) % 2 ** 24
  return boot + count.toString(16).padStart(6, '0')
}

/**
 * A number of 47 bits: written in decimal it has at most 15 digits, and JavaScript and Lua both count that far exactly. It is no secret,
 * it only has to differ.
 */
export function randomTag (): number {
  return 1 + Math.floor(Math.random() * (2 ** 47 - 1))
}
