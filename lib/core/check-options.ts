import { RealtimeError, kindOf } from '../errors.ts'

/**
 * Returns the options of a call, or an empty object if there are none. `names` lists the valid options for the error
 * message. Throws `RT_OPTION_INVALID` if `options` is not an object.
 */
export function checkOptions<T extends object> (options: T | undefined, names: string): Partial<T> {
  if (options === undefined) return {}
  if (typeof options === 'object' && options !== null) return options
  throw invalid('options', `an object with ${names}`, options, 'Leave it out if there are none')
}

/** Creates an `RT_OPTION_INVALID` error for an argument or option of the wrong type. */
export function invalid (name: string, expected: string, got: unknown, fix: string): RealtimeError {
  return new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be ${expected}, got ${kindOf(got)}. ${fix}`)
}
