import type { Readable, Writable } from 'node:stream'
import { timing } from '../core/timing.ts'
import type { Logger } from '../core/logger.ts'
import { RedisPubSub } from '../pubsub/redis/redis-pubsub.ts'
import { openSource, type Target } from './target.ts'

/** What every command has. */
export interface CommandContext {
  target: Target
  keyPrefix: string | undefined
  sharded: boolean
  stdin: Readable
  stdout: Writable
  stderr: Writable
  /** Aborted when the command must end: by Ctrl+C, or because nothing reads its output any more. */
  signal: AbortSignal
}

/** A command that has its arguments. Resolves with the exit status. */
export type Command = (context: CommandContext) => Promise<number>

/** Calls `work` with a provider, and closes it afterwards. Its warnings go to standard error. */
export async function withProvider<T> (
  { target, keyPrefix, sharded, stderr }: CommandContext, work: (pubsub: RedisPubSub, log: Logger) => Promise<T>
): Promise<T> {
  const log = warningsTo(stderr)
  const { source, close } = openSource(target)
  try {
    const pubsub = new RedisPubSub({
      ...source,
      keyPrefix,
      sharded,
      // The options of the app are unknown here. A smaller history than that of the app would delete events.
      history: { size: MOST_EVENTS, ttlMs: timing.metaExtra },
      log
    })
    try {
      return await work(pubsub, log)
    } finally {
      await pubsub.close()
    }
  } finally {
    close()
  }
}

/** The largest value of the option `history.size`. */
const MOST_EVENTS = 2 ** 31 - 1

function warningsTo (stderr: Writable): Logger {
  const ignore = (): void => {}
  const warn = (context: { reason?: string, code?: string }, message?: string): void => {
    // The command itself reports its failure.
    if (context.code !== undefined) return
    stderr.write(`${[message, context.reason].filter((part) => part !== undefined).join(': ')}\n`)
  }
  // pino's type allows a message without a context, which this package never logs.
  const write = warn as Logger['warn']
  return { debug: ignore, info: ignore, warn: write, error: write }
}
