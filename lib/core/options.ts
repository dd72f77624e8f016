import { RealtimeError, kindOf } from '../errors.ts'

/**
 * Where the value of an option must be the same. `app`: nowhere else, the option affects only the streams of its app.
 * `process`: in the apps of a process that share a provider. `all`: on all instances that share a Redis, too.
 */
type Scope = 'app' | 'process' | 'all'

/** An option of a table. `Given` is what an app may write, `Value` is what the code gets. */
export interface Option<Given, Value> {
  /** The value of an option that is not set. */
  readonly default: Value
  readonly scope: Scope
  readonly unit?: 'ms' | 'bytes'
  /** The options inside, if the option is an object. */
  readonly fields?: OptionTable
  /** Returns the value to use. Throws `RT_OPTION_INVALID`. `name` is for the message. */
  check (name: string, given: Given): Value
}

/**
 * Options by name. The docstring of an entry documents the option in editors, in the API reference and in
 * docs/reference.md.
 */
export type OptionTable = Readonly<Record<string, Option<unknown, unknown>>>

/** The options of a table as an app may give them. */
export type OptionsFrom<Table> = {
  [Name in keyof Table]?: Table[Name] extends Option<infer Given, unknown> ? Given | Unset<Name> : never
}

/** `app.register` has an option `prefix` of its own, whose type does not accept `undefined`. */
type Unset<Name> = Name extends 'prefix' ? never : undefined

/** The values of all options of a table, with the defaults. */
export type ValuesFrom<Table> = {
  [Name in keyof Table]: Table[Name] extends Option<never, infer Value> ? Value : never
}

/** Checks each option of a table and applies the defaults. Ignores other options. Throws `RT_OPTION_INVALID`. */
export function resolve<Table extends OptionTable> (
  table: Table, given: OptionsFrom<Table>, path = ''
): ValuesFrom<Table> {
  const values = Object.entries(table).map(([name, option]) => {
    const value = given[name]
    // Only `undefined` means unset: `null` must be rejected.
    return [name, value === undefined ? option.default : option.check(path + name, value)]
  })
  return Object.fromEntries(values) as ValuesFrom<Table> // Each value comes from the option of its name.
}

/** Returns a table with some of the options. */
export function pick<Table extends OptionTable, Name extends keyof Table & string> (
  table: Table, ...names: Name[]
): Pick<Table, Name> {
  return Object.fromEntries(names.map((name) => [name, table[name]])) as Pick<Table, Name> // It has these names.
}

/** Throws `RT_OPTION_INVALID` if `given` has an option that the table does not have. */
export function refuseUnknown (table: OptionTable, given: object, path = ''): void {
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(table, name))
  if (unknown === undefined) return
  const options = Object.keys(table).join(', ')
  throw new RealtimeError('RT_OPTION_INVALID', `There is no option \`${path}${unknown}\`. The options are ${options}`)
}

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
