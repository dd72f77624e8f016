import type { Logger } from '../../core/logger.ts'
import { logRepeated, type RepeatedFailure } from '../../observability/repeated-failure.ts'
import type { History } from '../provider-options.ts'
import { makeEnvelope } from '../publisher.ts'
import type { RedisClient } from './client.ts'
import type { CommandQueue } from './command-queue.ts'
import { describeRedisError } from './connection.ts'
import type { RedisKeys } from './keys.ts'
import { LogReader, type LogReaderOptions } from './log-reader.ts'
import { LogWriter } from './log-writer.ts'
import { Query } from './query.ts'
import { Scripts, type Script } from './scripts.ts'
import { RedisStateStore } from './state-store.ts'

const UNHEARD: RepeatedFailure = { level: 'error', message: 'Redis refuses to broadcast, so events arrive late' }

/** What the logs of a provider share. */
interface LogsOptions {
  /** The connection of the publisher. */
  connection: RedisClient
  commands: CommandQueue
  /** Scripts that the Redis of the connection has in its cache. */
  cached: Set<Script>
  instanceId: string
  log: Logger
  maxPayloadBytes: number
  publishTimeoutMs: number
  idempotencyTtlMs: number
  sharded: boolean
}

/** The reader and the writer of the logs in one key namespace, with the options they share. */
interface OpenedLog { common: LogReaderOptions, writer: LogWriter, events: LogReader }

/** Opens the logs of one provider: those of the chats, and those of the control channels. */
export class Logs {
  readonly #options: LogsOptions
  /** Reads on the connection of the publisher. */
  readonly #near: Query

  constructor (options: LogsOptions) {
    this.#options = options
    this.#near = new Query(() => options.connection, options.publishTimeoutMs)
  }

  /** Opens the logs in one key namespace. By default they are read on the connection of the publisher. */
  open (keys: RedisKeys, kept: History, reader = this.#near): OpenedLog {
    const { connection, commands, cached, instanceId, log, publishTimeoutMs, idempotencyTtlMs, sharded } = this.#options
    const scripts = new Scripts({ ...kept, idempotencyTtlMs, publishTimeoutMs, sharded, cached })
    const common = { keys, scripts, reader, near: this.#near, apart: connection.isCluster, instanceId }
    const events = new LogReader(common)
    const writer = new LogWriter({
      ...common,
      commands,
      bounds: events.bounds,
      // Such events are in the log, so other instances find them when they next poll it.
      onUnheard: (error) => logRepeated(log, UNHEARD, { reason: describeRedisError(error) })
    })
    return { common, writer, events }
  }

  /** Opens the states beside the logs in one key namespace. */
  openState ({ common, writer }: OpenedLog): RedisStateStore {
    const { commands, instanceId, log, maxPayloadBytes } = this.#options
    return new RedisStateStore({
      ...common,
      log,
      send: (command, options) => {
        writer.flush()
        return commands.send(command, options)
      },
      finalize: async (channel, finalization) => await writer.finalize(
        channel,
        makeEnvelope(finalization.event, instanceId, maxPayloadBytes),
        finalization
      )
    })
  }
}
