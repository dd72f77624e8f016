import type { UIChunk } from '../ui-message.ts'

/** A stream of UI message chunks, such as `result.toUIMessageStream()` of the AI SDK. */
export type UIMessageStream = ReadableStream<{ type: string }> | AsyncIterable<{ type: string }>

/**
 * The chunks of a UI message, or a function that returns them. Only the function can stop the model: it gets a signal
 * that aborts when the rest is not needed. Pass it to `streamText` as `abortSignal`.
 */
export type UIMessageSource = UIMessageStream |
  ((signal: AbortSignal) => UIMessageStream | Promise<UIMessageStream>)

/** Reads the chunks of a source, until a signal aborts. */
export interface ChunkReader {
  /** Resolves with the next chunk; `undefined` after the last one, or once the signal has aborted. */
  next (): Promise<UIChunk | undefined>
  /** Releases the source. Does not wait: a source that hangs in an `await` would never settle. */
  cancel (): void
}

/**
 * Opens a source. Rejects with its error. Does not wait for it once the signal has aborted: a stream that the source
 * returns after that is cancelled.
 */
export async function readerOf (source: UIMessageSource, signal: AbortSignal): Promise<ChunkReader> {
  const aborted = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => { resolve(undefined) }, { once: true })
  })
  const opening = Promise.resolve(typeof source === 'function' ? source(signal) : source)
  await Promise.race([opening, aborted])
  if (signal.aborted) {
    opening.then((stream) => access(stream).cancel()).catch(() => {})
    return { next: async () => undefined, cancel () {} }
  }
  const { next, cancel } = access(await opening)
  return {
    next: () => Promise.race([next(), aborted]),
    cancel: () => { Promise.resolve().then(cancel).catch(() => {}) }
  }
}

type Access = Record<'next', () => Promise<UIChunk | undefined>> & Record<'cancel', () => unknown>

/** The `return()` of an iterator of a ReadableStream waits for a pending read, so it is read by its own reader. */
function access (stream: UIMessageStream): Access {
  if (stream instanceof ReadableStream) {
    const reader = stream.getReader()
    return { next: async () => (await reader.read()).value as UIChunk | undefined, cancel: () => reader.cancel() }
  }
  const iterator = (stream as AsyncIterable<UIChunk>)[Symbol.asyncIterator]()
  return {
    next: async () => {
      const { done, value } = await iterator.next()
      return done === true ? undefined : value
    },
    cancel: () => iterator.return?.()
  }
}
