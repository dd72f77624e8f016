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

/** Maximum number of causes of one failure that are counted separately. */
const MOST_CAUSES = 32

/** Failures by logger. Parts of an app that share a logger also share its repeated log lines. */
const known = new WeakMap<Logger, Map<RepeatedFailure, Episode>>()

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
  const episodes = known.get(log) ?? new Map<RepeatedFailure, Episode>()
  known.set(log, episodes)
  const episode = episodes.get(failure) ?? new Episode(log, failure, () => episodes.delete(failure))
  episodes.set(failure, episode)
  episode.fail(context, cause)
}

/** Logs a recovery with the number of failures, if it has failed before. Never throws. */
export function logRecovered (log: Logger, failure: RecoverableFailure, context: object = {}): void {
  known.get(log)?.get(failure)?.recover(context)
}

/** Logs the counts that were not logged yet, because the user of this logger is closing. Never throws. */
export function logPending (log: Logger): void {
  for (const episode of known.get(log)?.values() ?? []) episode.end()
}

/** Returns the first stack frame of an error. It distinguishes errors of an app without using their messages. */
export function originOf (error: unknown): string {
  const { stack } = Object(error) as { stack?: unknown }
  return /^ +at .*$/m.exec(String(stack))?.[0] ?? ''
}

interface Cause { count: number, unlogged: number, context: object }

/** The lifetime of a failure, from its first occurrence until it is over. */
class Episode {
  readonly #log: Logger
  readonly #failure: RepeatedFailure
  readonly #onEnd: () => void
  readonly #causes = new Map<string | number, Cause>()
  #timer: NodeJS.Timeout | undefined
  #failing = true
  /** The context of the latest recovery, logged with the count. */
  #context: object = {}
  /** `true` if a recovery was logged since the timer last fired: an intermittent failure logs one per interval. */
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
    // It has failed since the last log line, and works now.
    if (!this.#failing) this.#logRecovery()
    this.#checkLater()
  }

  #logRecovery (): void {
    this.#recovered = true
    const causes = [...this.#causes.values()]
    for (const cause of causes) cause.unlogged = 0
    const count = causes.reduce((sum, cause) => sum + cause.count, 0)
    this.#write('info', { ...this.#context, count }, this.#failure.recovered as string) // Set for all that recover.
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
