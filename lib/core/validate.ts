import { RealtimeError, kindOf } from '../errors.ts'

const INT32 = 2 ** 31 - 1

/** Applies a default. It does not use `??`, because `null` must be rejected, not treated as unset. */
export function or (value: unknown, fallback: unknown): unknown {
  return value === undefined ? fallback : value
}

export function optional<T, R> (value: T | undefined, check: (value: T) => R): R | undefined {
  return value === undefined ? undefined : check(value)
}

export function callable<T> (name: string, value: T): T {
  if (typeof value === 'function') return value
  throw new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be a function, got ${kindOf(value)}`)
}

export function whole (name: string, value: unknown, least: number, most = INT32, reason = ''): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value as number
  const got = typeof value === 'number' ? value : kindOf(value)
  throw new RealtimeError(
    'RT_OPTION_INVALID',
    `Expected \`${name}\` to be a whole number from ${least} to ${most}${reason}, got ${got}`
  )
}

export function flag (name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be true or false, got ${kindOf(value)}`)
}

export function text (name: string, value: unknown, form: RegExp, expected: string): string {
  if (typeof value === 'string' && form.test(value)) return value
  throw new RealtimeError(
    'RT_OPTION_INVALID',
    `Expected \`${name}\` to be ${expected}, got ${typeof value === 'string' ? 'another string' : kindOf(value)}`
  )
}

export function hasMethods<T> (
  name: string,
  value: T | undefined,
  methods: readonly string[],
  expected: string
): T | undefined {
  if (value === undefined) return undefined
  const missing = methods.filter((method) => typeof (value as Record<string, unknown> | null)?.[method] !== 'function')
  if (missing.length === 0) return value
  throw new RealtimeError(
    'RT_OPTION_INVALID',
    `Expected \`${name}\` to be ${expected}, got ${kindOf(value)} without ${missing.join(', ')}`
  )
}
