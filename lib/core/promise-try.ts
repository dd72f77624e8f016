/** Makes a promise of whatever is returned, and a rejection of what is thrown, as an async function does, for less. */
export function promiseTry<T> (start: () => Promise<T>): Promise<T> {
  try {
    return Promise.resolve(start())
  } catch (error) {
    return Promise.reject(error)
  }
}
