import { AsyncResource } from 'node:async_hooks'

/** Captures the AsyncLocalStorage context at load time, which belongs to no request. */
const loading = new AsyncResource('FastifyRealtime')

/**
 * Runs `open` outside the AsyncLocalStorage context of the current request. Use it to create connections, rooms and
 * timers, which outlive the request: otherwise their callbacks would run in its context and keep its store alive.
 */
export function outsideRequests<T> (open: () => T): T {
  return loading.runInAsyncScope(open)
}

/** Binds a function to the current AsyncLocalStorage context. */
export function bindContext<Args extends unknown[], R> (call: (...args: Args) => R): (...args: Args) => R {
  return AsyncResource.bind(call)
}
