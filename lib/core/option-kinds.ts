import { RealtimeError, kindOf } from '../errors.ts'
import { refuseUnknown, resolve, type Option, type OptionsFrom, type OptionTable, type ValuesFrom } from './options.ts'
import { timing } from './timing.ts'

/** What each kind of option asks for. */
type Spec<Default> = Pick<Option<unknown, unknown>, 'scope'> & { default?: Default }

/** Creates an option that `check` checks. Without a default, its value is `undefined` if it is not set. */
export function option<Given, Value, Default = undefined> (
  spec: Omit<Option<Given, Value>, 'default'>, byDefault?: Default
): Option<Given, Value | Default> {
  return { ...spec, default: byDefault as Default } // Where it is left out, `Default` is `undefined`.
}

interface WholeSpec<Default> extends Spec<Default> {
  from: number
  to?: number
  /** The reason for `to`, for the message. */
  because?: string
}

/** The longest delay of a timer of Node. */
const INT32 = 2 ** 31 - 1

function whole<Default> (
  unit: Pick<Option<unknown, unknown>, 'unit'>,
  { from, to = INT32, because = '', scope, default: byDefault }: WholeSpec<Default>
): Option<number, number | Default> {
  const check = (name: string, given: number): number => {
    if (Number.isInteger(given) && given >= from && given <= to) return given
    const range = `a whole number from ${from} to ${to}${because}`
    throw wrong(name, range, typeof given === 'number' ? String(given) : kindOf(given))
  }
  return option({ scope, ...unit, check }, byDefault as Default)
}

/** A whole number. */
export function count<Default = undefined> (spec: WholeSpec<Default>): Option<number, number | Default> {
  return whole({}, spec)
}

/** A whole number of milliseconds. */
export function milliseconds<Default = undefined> (spec: WholeSpec<Default>): Option<number, number | Default> {
  return whole({ unit: 'ms' }, spec)
}

/** Milliseconds that a lease in the state of a chat lasts. */
export function lease (spec: Required<Spec<number>>): Option<number, number> {
  const because = ', since Redis keeps what was not renewed no longer than that'
  return milliseconds({ ...spec, from: 100, to: timing.stateExtra, because })
}

/** A whole number of bytes. */
export function bytes<Default = undefined> (spec: WholeSpec<Default>): Option<number, number | Default> {
  return whole({ unit: 'bytes' }, spec)
}

/** `true` or `false`. */
export function flag ({ scope, default: byDefault }: Required<Spec<boolean>>): Option<boolean, boolean> {
  const check = (name: string, given: boolean): boolean => {
    if (typeof given === 'boolean') return given
    throw wrong(name, 'true or false', kindOf(given))
  }
  return option({ scope, check }, byDefault)
}

/** A string that matches `form`, which the message describes as `expected`. */
export function text<Default = undefined> (
  { form, expected, scope, default: byDefault }: Spec<Default> & { form: RegExp, expected: string }
): Option<string, string | Default> {
  const check = (name: string, given: string): string => {
    if (typeof given === 'string' && form.test(given)) return given
    throw wrong(name, expected, typeof given === 'string' ? 'another string' : kindOf(given))
  }
  return option({ scope, check }, byDefault as Default)
}

/** A function. */
export function callable<Given> ({ scope }: Spec<never>): Option<Given, Given | undefined> {
  const check = (name: string, given: Given): Given => {
    if (typeof given === 'function') return given
    throw wrong(name, 'a function', kindOf(given))
  }
  return option({ scope, check })
}

/** An object with these methods, which the message describes as `expected`. */
export function withMethods<Given> (
  { methods, expected, scope }: Spec<never> & { methods: readonly (keyof Given & string)[], expected: string }
): Option<Given, Given | undefined> {
  const check = (name: string, given: Given): Given => {
    const missing = methods.filter((method) => typeof (given as Given | null)?.[method] !== 'function')
    if (missing.length === 0) return given
    throw wrong(name, expected, `${kindOf(given)} without ${missing.join(', ')}`)
  }
  return option({ scope, check })
}

type GroupSpec<Fields> = Spec<never> & { fields: Fields }

/** An object of options. It is on unless it is `false`. */
export function onByDefault<Fields extends OptionTable, Given = OptionsFrom<Fields>> (
  { fields, scope }: GroupSpec<Fields>
): Option<Given | false, ValuesFrom<Fields> | false> {
  const check = (name: string, given: Given | false): ValuesFrom<Fields> | false =>
    given !== false && group(fields, name, given, `${shapeOf(fields)} or false`)
  return option({ scope, fields, check }, resolve(fields, {}))
}

/** An object of options. It is off unless it is given; `true` turns it on with the defaults. */
export function offByDefault<Fields extends OptionTable, Given = OptionsFrom<Fields>> (
  { fields, scope }: GroupSpec<Fields>
): Option<Given | boolean, ValuesFrom<Fields> | false> {
  const check = (name: string, given: Given | boolean): ValuesFrom<Fields> | false =>
    given !== false && group(fields, name, given === true ? {} : given, `true, false or ${shapeOf(fields)}`)
  return option({ scope, fields, check }, false)
}

/** Checks an object of options, which the message describes as `expected`, and applies the defaults. */
export function group<Fields extends OptionTable> (
  fields: Fields, name: string, given: unknown, expected: string
): ValuesFrom<Fields> {
  if (typeof given !== 'object' || given === null) throw wrong(name, expected, kindOf(given))
  refuseUnknown(fields, given, `${name}.`)
  return resolve(fields, given, `${name}.`)
}

function shapeOf (fields: OptionTable): string {
  return `{ ${Object.keys(fields).join(', ')} }`
}

function wrong (name: string, expected: string, got: string): RealtimeError {
  return new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be ${expected}, got ${got}`)
}
