/** Settles like `promise`, or rejects after `ms` milliseconds. The timer does not keep the process alive. */
export function withTimeout<T> (promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no reply within ${ms} ms`)), ms).unref()
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
