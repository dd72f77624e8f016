/** Whether a value that came from elsewhere is an object, so that its fields can be looked at. */
export function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
