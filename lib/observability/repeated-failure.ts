import { outsideRequests } from '../core/async-context.ts'
import type { Logger } from '../core/logger.ts'
import { timing } from '../core/timing.ts'

/** Describes a failure that may repeat, and how it is logged. */
export interface RepeatedFailure {
  level: 'warn' | 'error'
  /** The failure and its fix. */
  message: string
  /** The message on recovery. Without it, recovery cannot be observed: the failure is over when it stops repeating. */
  recovered?: string
}

/** A failure whose recovery can be observed. */
export type RecoverableFailure = RepeatedFailure & { recovered: string }

/** Maximum number of causes of one failure that are counted separately. Further causes are counted together. */
const MAX_CAUSES = 32

/** Ongoing failures by logger. Parts of an app that share a logger also share its repeated log lines. */
const ongoing = new WeakMap<Logger, Map<RepeatedFailure, Episode>>()

/**
 * Logs a failure: the first immediately, further ones once per `timing.repeatedLog`, with their count and the latest
 * context. Each `cause` is counted separately; it is a code, never a chat or a user. Never throws.
 */
export function logRepeated (
  log: Logger,
  failure: RepeatedFailure,
  context: object,
  cause: string | number = ''
): void {
  const episodes = ongoing.get(log) ?? new Map<RepeatedFailure, Episode>()
  ongoing.set(log, episodes)
  const episode = episodes.get(failure) ?? new Episode(log, failure, () => episodes.delete(failure))
  episodes.set(failure, episode)
  episode.fail(context, cause)
}

/** Logs that a failure is over, with the number of its occurrences. Does nothing without a failure. Never throws. */
export function logRecovered (log: Logger, failure: RecoverableFailure, context: object = {}): void {
  ongoing.get(log)?.get(failure)?.recover(context)
}

/** Logs the counts that were not logged yet. Called when an app or a provider with this logger closes. Never throws. */
export function logPending (log: Logger): void {
  for (const episode of ongoing.get(log)?.values() ?? []) episode.end()
}

/** Returns the first stack frame of an error. It distinguishes errors of an app without using their messages. */
export function originOf (error: unknown): string {
  const { stack } = Object(error) as { stack?: unknown }
  return /^ +at .*$/m.exec(String(stack))?.[0] ?? ''
}

interface Cause { count: number, unlogged: number, context: object }

/**
 * One ongoing failure, from its first occurrence until it is over: after an interval in which it did not occur. If its
 * recovery can be observed, it must also have recovered.
 */
class Episode {
  readonly #log: Logger
  readonly #failure: RepeatedFailure
  readonly #onEnd: () => void
  readonly #causes = new Map<string | number, Cause>()
  #timer: NodeJS.Timeout | undefined
  #failing = true
  /** The context of the latest recovery, logged with the count. */
  #recoveryContext: object = {}
  /** True if a recovery was logged since the timer last fired: an intermittent failure logs one per interval. */
  #recoveryLogged = false

  constructor (log: Logger, failure: RepeatedFailure, onEnd: () => void) {
    this.#log = log
    this.#failure = failure
    this.#onEnd = onEnd
    this.#checkLater()
  }

  fail (context: object, name: string | number): void {
    this.#failing = true
    const key = this.#causes.has(name) || this.#causes.size < MAX_CAUSES ? name : ''
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
    this.#recoveryContext = context
    if (!this.#recoveryLogged) this.#logRecovery()
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
    this.#recoveryLogged = false
    // It failed during the interval, and works now.
    if (!this.#failing) this.#logRecovery()
    this.#checkLater()
  }

  #logRecovery (): void {
    this.#recoveryLogged = true
    const causes = [...this.#causes.values()]
    for (const cause of causes) cause.unlogged = 0
    const count = causes.reduce((sum, cause) => sum + cause.count, 0)
    this.#write('info', { ...this.#recoveryContext, count }, this.#failure.recovered as string) // See `logRecovered`.
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
      // The app's logger threw. A failure to log must not break the caller.
    }
  }
}
