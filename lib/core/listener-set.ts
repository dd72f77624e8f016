/**
 * A set of handlers, called one after another. If a handler throws or its promise rejects, the error is reported and
 * the other handlers are still called.
 */
export class ListenerSet<Args extends readonly unknown[]> {
  /** Maps each handler to the function that calls it. */
  readonly #handlers = new Map<(...args: Args) => unknown, (...args: Args) => unknown>()
  readonly #report: (error: unknown) => void

  constructor (report: (error: unknown) => void) {
    this.#report = report
  }

  get size (): number {
    return this.#handlers.size
  }

  /** Adds a handler, unless it was added before. If `call` is given, it is called instead of the handler. */
  add (handler: (...args: Args) => unknown, call = handler): void {
    if (!this.#handlers.has(handler)) this.#handlers.set(handler, call)
  }

  delete (handler: (...args: Args) => unknown): void {
    this.#handlers.delete(handler)
  }

  clear (): void {
    this.#handlers.clear()
  }

  run (...args: Args): void {
    // Iterates over a copy: otherwise a handler that removes and adds itself would be called endlessly.
    for (const [handler, call] of [...this.#handlers]) {
      if (this.#handlers.has(handler)) this.#call(call, args)
    }
  }

  #call (call: (...args: Args) => unknown, args: Args): void {
    try {
      const result = call(...args) as Partial<PromiseLike<unknown>> | undefined | null
      if (typeof result?.then === 'function') result.then(undefined, this.#report)
    } catch (error) {
      this.#report(error)
    }
  }
}
