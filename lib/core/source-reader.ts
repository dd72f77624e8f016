/** What an app passes to be read. */
export type Source<T> = ReadableStream<T> | AsyncIterable<T>

/** Reads a source until a signal aborts, even while the source hangs. */
export interface SourceReader<T> {
  /** Resolves with the next value; `undefined` after the last one, or once the signal has aborted. */
  next (): Promise<{ value: T } | undefined>
  /** Releases the source. Does not wait: a source that hangs in an `await` would never settle. */
  cancel (): void
}

/**
 * Opens a source, or one that a function returns. Rejects with its error. Once the signal has aborted, waits for
 * nothing and reads nothing: what the function returns after that is released.
 */
export async function openSource<T> (
  source: Source<T> | ((signal: AbortSignal) => Source<T> | Promise<Source<T>>), signal: AbortSignal
): Promise<SourceReader<T>> {
  const abort = new Abort(signal)
  if (typeof source === 'function' && signal.aborted) return NOTHING
  const opening = Promise.resolve(typeof source === 'function' ? source(signal) : source)
  await abort.or(() => opening)
  if (signal.aborted) {
    opening.then((stream) => { release(access(stream)) }).catch(() => {})
    return NOTHING
  }
  const accessed = access(await opening)
  return {
    next: async () => {
      const next = await abort.or(accessed.next)
      return next?.done === true ? undefined : next
    },
    cancel: () => { release(accessed) }
  }
}

/** Calls `use` with each value of a source, one after another, until the signal aborts. Rejects as both do. */
export async function readSource<T> (
  source: Parameters<typeof openSource<T>>[0], signal: AbortSignal, use: (value: T) => Promise<unknown>
): Promise<void> {
  const reader = await openSource(source, signal)
  try {
    for (let next = await reader.next(); next !== undefined; next = await reader.next()) await use(next.value)
  } finally {
    reader.cancel()
  }
}

const NOTHING = { next: async () => undefined, cancel () {} }

/** Waits until a signal aborts. Promise.race would keep each result until then. */
class Abort {
  readonly #signal: AbortSignal
  #settle: () => void = () => {}

  constructor (signal: AbortSignal) {
    this.#signal = signal
    signal.addEventListener('abort', () => { this.#settle() }, { once: true })
  }

  /** Settles as what is begun does; resolves with `undefined` if the signal aborts before. Only one call may wait. */
  or<R> (begin: () => Promise<R>): Promise<R | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#signal.aborted) return resolve(undefined)
      this.#settle = () => { resolve(undefined) }
      begin().then(resolve, reject)
    })
  }
}

interface Access<T> {
  next (): Promise<IteratorResult<T>>
  cancel (): unknown
}

/** The `return()` of an iterator of a ReadableStream waits for a pending read, so it is read by its own reader. */
function access<T> (source: Source<T>): Access<T> {
  if (source instanceof ReadableStream) {
    const reader = source.getReader()
    // Types of Node: without `done`, there is a value.
    return { next: () => reader.read() as Promise<IteratorResult<T>>, cancel: () => reader.cancel() }
  }
  const iterator = source[Symbol.asyncIterator]()
  return { next: () => iterator.next(), cancel: () => iterator.return?.() }
}

function release ({ cancel }: Access<unknown>): void {
  Promise.resolve().then(cancel).catch(() => {})
}
