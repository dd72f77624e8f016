import { RealtimeError, kindOf } from '../errors.ts'

/** The options of a call, or none. Throws `RT_OPTION_INVALID` for what is no object; `names` are those that there are. */
export function checkOptions<T extends object> (options: T | undefined, names: string): Partial<T> {
  if (options === undefined) return {}
  if (typeof options === 'object' && options !== null) return options
  throw invalid('options', `an object with ${names}`, options, 'Leave it out where there are none')
}

/** Throws `RT_OPTION_INVALID` for an argument or option that is of another kind than expected. */
export function invalid (name: string, expected: string, got: unknown, fix: string): RealtimeError {
  return new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be ${expected}, got ${kindOf(got)}. ${fix}`)
}
