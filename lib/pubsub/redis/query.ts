import { RealtimeError } from '../../errors.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { RedisClient } from './client.ts'
import { describeRedisError } from './connection.ts'
import type { Script } from './scripts.ts'

/** Asks Redis for what it keeps. */
export class Query {
  readonly #client: () => RedisClient
  readonly #timeoutMs: number
  /** The scripts that Redis knew when it was last asked. */
  readonly #warm = new Set<Script>()
  #connected: Promise<void> | undefined

  /** `client` may throw. `timeoutMs`: milliseconds until a question without an answer rejects. */
  constructor (client: () => RedisClient, timeoutMs: number) {
    this.#client = client
    this.#timeoutMs = timeoutMs
  }

  /** Rejects with `RT_LOG_UNAVAILABLE`. */
  async ask<T> (question: (client: RedisClient) => Promise<T>): Promise<T> {
    try {
      const client = this.#client()
      // Where there is a connection, it is asked in this very turn: what is published in the next comes after.
      if (client.status !== 'ready') await withTimeout(this.#connect(client), this.#timeoutMs)
      const result = question(client).catch(async (error: Error) => {
        // It never left: the connection broke, and ioredis has not noticed yet.
        if (!error.message.startsWith('Stream isn\'t writeable')) throw error
        await this.#connect(client)
        return await question(client)
      })
      return await withTimeout(result, this.#timeoutMs)
    } catch (error) {
      // Whatever ioredis rejects with is an Error.
      throw new RealtimeError('RT_LOG_UNAVAILABLE', describeRedisError(error as Error))
    }
  }

  /** Runs a script that reads. Rejects with `RT_LOG_UNAVAILABLE`. */
  async run (script: Script, keys: string[], args: (string | number)[]): Promise<unknown> {
    const reply = await this.ask((client) => this.#run(client, script, keys, args))
    this.#warm.add(script)
    return reply
  }

  /**
   * Runs a script that writes. Returns whether Redis did not refuse. Rejects with `RT_LOG_UNAVAILABLE` where it gave no
   * answer.
   */
  async tries (script: Script, keys: string[], args: (string | number)[]): Promise<boolean> {
    return await this.ask((client) => this.#run(client, script, keys, args).then(() => true, (error: Error) => {
      if (error.name !== 'ReplyError') throw error
      return false
    }))
  }

  #run (client: RedisClient, script: Script, keys: string[], args: (string | number)[]): Promise<unknown> {
    return script.run(client, keys, args, !this.#warm.has(script)).catch((error: Error) => {
      if (!error.message.startsWith('NOSCRIPT')) throw error
      return script.run(client, keys, args, true)
    })
  }

  /** Resolves once there is a connection: the one that subscribes may be back first, and then everyone reads. */
  async #connect (client: RedisClient): Promise<void> {
    this.#connected ??= new Promise<void>((resolve) => { client.once('ready', resolve) })
      .finally(() => { this.#connected = undefined })
    await this.#connected
  }
}
