/**
 * Functions that are told of something, one after another. One that throws, or whose promise rejects, is reported and
 * stops no other.
 */
export class ListenerSet<Args extends readonly unknown[]> {
  /** By handler, what calls it. */
  readonly #handlers = new Map<(...args: Args) => unknown, (...args: Args) => unknown>()
  readonly #report: (error: unknown) => void

  constructor (report: (error: unknown) => void) {
    this.#report = report
  }

  get size (): number {
    return this.#handlers.size
  }

  /** Adds a handler, unless it was added before. It is called by `call`, such as in a context of its own. */
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
    // Over a copy, since one that removes itself and adds itself again would otherwise be called for ever.
    for (const [handler, call] of [...this.#handlers]) {
      if (this.#handlers.has(handler)) this.#call(call, args)
    }
  }

  #call (handler: (...args: Args) => unknown, args: Args): void {
    try {
      const result = handler(...args) as Partial<PromiseLike<unknown>> | undefined | null
      if (typeof result?.then === 'function') result.then(undefined, this.#report)
    } catch (error) {
      this.#report(error)
    }
  }
}
