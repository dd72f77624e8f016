import { AsyncResource } from 'node:async_hooks'

/** The AsyncLocalStorage context in which this module was loaded: no request is active then. */
const loadContext = new AsyncResource('FastifyRealtime')

/**
 * Runs `create` outside the AsyncLocalStorage context of the current request. Use it to create connections, rooms and
 * timers, which outlive the request: otherwise their callbacks would run in its context and keep its store alive.
 */
export function outsideRequests<T> (create: () => T): T {
  return loadContext.runInAsyncScope(create)
}

/** Returns the current AsyncLocalStorage context, in which functions can be called later. */
export function currentContext (): AsyncResource {
  return new AsyncResource('FastifyRealtime')
}

/** Binds a function to the current AsyncLocalStorage context. */
export function bindContext<Args extends unknown[], R> (call: (...args: Args) => R): (...args: Args) => R {
  // `AsyncResource.bind` also defines a deprecated property of the function, which takes much longer than all else.
  const context = currentContext()
  return (...args) => context.runInAsyncScope(call, undefined, ...args)
}
