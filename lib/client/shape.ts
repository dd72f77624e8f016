/** Whether a value from outside is an object, so that its fields can be read. */
export function isObject (value: unknown): value is Record<string, unknown> {
  return Object(value) === value && !Array.isArray(value)
}

export function isText (value: unknown): value is string {
  return typeof value === 'string'
}

export function textOf (value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
