import { createBackoff } from './backoff.ts'
import { whenAborted } from './listeners.ts'

/** The argument of `load`. */
export interface LoadContext {
  /** `start`, or the reason of a reset. */
  reason: string
  /** Aborts if the result is not needed any more: the chat was closed or refused, or has got a reset. */
  signal: AbortSignal
}

/** The result of `load`. */
export interface LoadResult {
  /**
   * What `chatEvents.lastEventId(chatId)` returned before the rows were read: the events after it are delivered.
   * Without it, all events since the start of the stream, or since the reset, are delivered. With that of another
   * chat, the call has failed.
   */
  lastEventId?: string | null | undefined
}

/** Fetches the state of a chat from the app's server. */
export type Load = (context: LoadContext) => Promise<LoadResult | void>

/** Loads the state of a chat by the app's `load`, which is called again until it succeeds. */
export interface StateLoader {
  /**
   * Loads the state, after a delay if it is a repetition. The call that is under way, if any, is aborted, and has ended
   * before the next one begins: otherwise it could replace the newer state by its own.
   */
  start (reason: string, repeats: boolean): void
  /** Aborts the call that is under way, if any. */
  stop (): void
}

/** `loaded` throws if the state must be loaded again. */
export function createStateLoader (
  load: Load, loaded: (lastEventId: LoadResult['lastEventId']) => void
): StateLoader {
  let controller = new AbortController()
  /** Resolves when the latest loading has ended. */
  let ended = Promise.resolve()

  async function run (context: LoadContext, repeats: boolean): Promise<void> {
    const { signal } = context
    const backoff = createBackoff()
    whenAborted(signal, backoff.abort)
    while (!signal.aborted) {
      if (repeats) await backoff.wait(backoff.next())
      if (signal.aborted) return
      repeats = true
      try {
        const result = await load(context)
        if (!signal.aborted) loaded(result?.lastEventId)
        return
      } catch (error) {
        // Not as an uncaught error, which would end a process of Node: the next call may succeed.
        if (!signal.aborted) console.warn(error)
      }
    }
  }

  return {
    start (reason, repeats) {
      controller.abort()
      controller = new AbortController()
      const { signal } = controller
      ended = ended.then(() => run({ reason, signal }, repeats))
    },
    stop: () => controller.abort()
  }
}
