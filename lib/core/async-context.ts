import { AsyncResource } from 'node:async_hooks'

/** Has the AsyncLocalStorage context in which this package was loaded, which is that of no request. */
const loading = new AsyncResource('FastifyRealtime')

/**
 * Runs what opens something that outlives the request at hand and serves others, too: connections, rooms, timers. Else
 * all that they do would run in the AsyncLocalStorage context of this request, and keep its store alive.
 */
export function outsideRequests<T> (open: () => T): T {
  return loading.runInAsyncScope(open)
}

/** A function that runs in the AsyncLocalStorage context of this call, wherever it is called. */
export function bindContext<Args extends unknown[], R> (call: (...args: Args) => R): (...args: Args) => R {
  return AsyncResource.bind(call)
}
