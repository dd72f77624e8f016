import { RealtimeError } from '../../errors.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { RedisClient } from './client.ts'
import { Cork } from './cork.ts'
import { describeRedisError, isReply, neverLeft } from './connection.ts'
import type { Script } from './scripts.ts'

/** Sends read commands to Redis, with a timeout. Connects first if necessary. */
export class Query {
  readonly #client: () => RedisClient
  readonly #timeoutMs: number
  readonly #cork = new Cork()
  #connected: Promise<void> | undefined

  /** `client` may throw. `timeoutMs`: milliseconds until a query without a reply rejects. */
  constructor (client: () => RedisClient, timeoutMs: number) {
    this.#client = client
    this.#timeoutMs = timeoutMs
  }

  /**
   * Calls `question` with a connected client, and again if the command could not be sent. Rejects with
   * `RT_LOG_UNAVAILABLE`.
   */
  async ask<T> (question: (client: RedisClient) => Promise<T>): Promise<T> {
    try {
      const client = this.#client()
      // If connected, the query is sent in the current turn, so that it precedes everything published in later turns.
      if (client.status !== 'ready') await withTimeout(this.#connect(client), this.#timeoutMs)
      // One turn may have many queries: in a Cluster, the read of each chat is a command of its own.
      this.#cork.hold(client)
      const result = question(client).catch(async (error: Error) => {
        // The command was not sent: the connection broke, but ioredis had not noticed yet.
        if (!neverLeft(error)) throw error
        await this.#connect(client)
        return await question(client)
      })
      return await withTimeout(result, this.#timeoutMs)
    } catch (error) {
      // ioredis always rejects with an Error.
      throw new RealtimeError('RT_LOG_UNAVAILABLE', describeRedisError(error as Error))
    }
  }

  /** Runs a script that reads and returns its reply. Rejects with `RT_LOG_UNAVAILABLE`. */
  async run (script: Script, keys: string[], args: (string | number)[]): Promise<unknown> {
    return await this.ask((client) => runScript(client, script, keys, args))
  }

  /**
   * Runs a script that reads, once for each key, and returns the replies. All calls share one timer. Rejects with
   * `RT_LOG_UNAVAILABLE` if one of them fails.
   */
  async runEach (script: Script, keys: string[]): Promise<unknown[]> {
    return await this.ask((client) => Promise.all(keys.map((key) => runScript(client, script, [key], []))))
  }

  /**
   * Runs a script, and returns the error if Redis refused it. Rejects with `RT_LOG_UNAVAILABLE` if Redis does not
   * reply.
   */
  async attempt (script: Script, keys: string[], args: (string | number)[]): Promise<unknown> {
    return await this.ask((client) => runScript(client, script, keys, args).catch((error: Error) => {
      if (!isReply(error)) throw error
      return error
    }))
  }

  /**
   * Resolves once the client is ready. All waiting queries share one listener. There can be many: if the subscriber
   * reconnects first, all rooms read their logs.
   */
  async #connect (client: RedisClient): Promise<void> {
    this.#connected ??= new Promise<void>((resolve) => { client.once('ready', resolve) })
      .finally(() => { this.#connected = undefined })
    await this.#connected
  }
}

/** Sends the script a second time if Redis has lost its source. */
function runScript (
  client: RedisClient, script: Script, keys: string[], args: (string | number)[]
): Promise<unknown> {
  const call = script.call()
  return call.send(client, keys, args).catch((error: Error) => {
    if (!call.isForgotten(error)) throw error
    return call.send(client, keys, args)
  })
}
