import { outsideRequests } from '../core/async-context.ts'
import type { Logger } from '../core/logger.ts'
import { timing } from '../core/timing.ts'

/** Something that may fail again and again, as the log names it. */
export interface RepeatedFailure {
  level: 'warn' | 'error'
  /** What has failed, and how to mend it. */
  message: string
  /** What is logged when it works again. Without it, nothing says that it does: it is over when it does not repeat. */
  recovered?: string
}

/** One of which it shows when it works again. */
export type RecoverableFailure = RepeatedFailure & { recovered: string }

/** How many causes of one failure are counted by themselves. */
const MOST_CAUSES = 32

/** By logger: the parts of an app that share one share its lines, too. */
const known = new WeakMap<Logger, Map<RepeatedFailure, Episode>>()

/**
 * Logs a failure: at once where it begins, and from then on once in `timing.repeatedLog`, with its count and the latest
 * context. `cause` tells apart what is counted by itself: a code, never a chat or a user. Never throws.
 */
export function logRepeated (log: Logger, failure: RepeatedFailure, context: object, cause: string | number = ''): void {
  const episodes = known.get(log) ?? new Map<RepeatedFailure, Episode>()
  known.set(log, episodes)
  const episode = episodes.get(failure) ?? new Episode(log, failure, () => episodes.delete(failure))
  episodes.set(failure, episode)
  episode.fail(context, cause)
}

/** Logs that something works again, with the number of failures, if it has failed before. Never throws. */
export function logRecovered (log: Logger, failure: RecoverableFailure, context: object = {}): void {
  known.get(log)?.get(failure)?.recover(context)
}

/** Logs what was counted and not logged yet, since what uses this logger is being closed. Never throws. */
export function logPending (log: Logger): void {
  for (const episode of known.get(log)?.values() ?? []) episode.end()
}

/** Where an error was made, as its stack says: that tells the faults of an app apart, as no message of theirs would. */
export function originOf (error: unknown): string {
  const { stack } = Object(error) as { stack?: unknown }
  return /^ +at .*$/m.exec(String(stack))?.[0] ?? ''
}

interface Cause { count: number, unlogged: number, context: object }

/** A failure from when it begins until it is over. */
class Episode {
  readonly #log: Logger
  readonly #failure: RepeatedFailure
  readonly #onEnd: () => void
  readonly #causes = new Map<string | number, Cause>()
  #timer: NodeJS.Timeout | undefined
  #failing = true
  /** What the line of a recovery says beside the count. */
  #context: object = {}
  /** Whether a recovery was logged since the timer last fired: of something that comes and goes, one is enough. */
  #recovered = false

  constructor (log: Logger, failure: RepeatedFailure, onEnd: () => void) {
    this.#log = log
    this.#failure = failure
    this.#onEnd = onEnd
    this.#checkLater()
  }

  fail (context: object, name: string | number): void {
    this.#failing = true
    const key = this.#causes.has(name) || this.#causes.size < MOST_CAUSES ? name : ''
    const cause = this.#causes.get(key)
    if (cause === undefined) {
      this.#causes.set(key, { count: 1, unlogged: 0, context })
      return this.#write(this.#failure.level, context, this.#failure.message)
    }
    cause.count++
    cause.unlogged++
    cause.context = context
  }

  recover (context: object): void {
    if (!this.#failing) return
    this.#failing = false
    this.#context = context
    if (!this.#recovered) this.#logRecovery()
  }

  end (): void {
    clearTimeout(this.#timer)
    this.#logCounts()
    this.#onEnd()
  }

  #checkLater (): void {
    this.#timer = outsideRequests(() => setTimeout(() => this.#check(), timing.repeatedLog).unref())
  }

  #check (): void {
    const repeated = this.#logCounts()
    if (!repeated && !(this.#failing && this.#failure.recovered !== undefined)) return this.#onEnd()
    this.#recovered = false
    // It has failed since the last line, and works at this moment.
    if (!this.#failing) this.#logRecovery()
    this.#checkLater()
  }

  #logRecovery (): void {
    this.#recovered = true
    const causes = [...this.#causes.values()]
    for (const cause of causes) cause.unlogged = 0
    const count = causes.reduce((sum, cause) => sum + cause.count, 0)
    this.#write('info', { ...this.#context, count }, this.#failure.recovered as string) // No other failure recovers.
  }

  /** Returns whether there was anything to log. */
  #logCounts (): boolean {
    const causes = [...this.#causes.values()].filter(({ unlogged }) => unlogged > 0)
    for (const cause of causes) {
      cause.unlogged = 0
      this.#write(this.#failure.level, { ...cause.context, count: cause.count }, this.#failure.message)
    }
    return causes.length > 0
  }

  #write (level: 'info' | 'warn' | 'error', context: object, message: string): void {
    try {
      this.#log[level](context, message)
    } catch {
      // The app's logger throws. What has failed shall not fail once more by that.
    }
  }
}
