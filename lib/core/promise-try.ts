/** Calls `start` and turns an exception into a rejection, like an async function, but at a lower cost. */
export function promiseTry<T> (start: () => Promise<T>): Promise<T> {
  try {
    return Promise.resolve(start())
  } catch (error) {
    return Promise.reject(error)
  }
}
