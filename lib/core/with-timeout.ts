/** Settles as the promise does, or rejects after `ms`. Keeps no process alive by itself. */
export function withTimeout<T> (promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms).unref()
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
