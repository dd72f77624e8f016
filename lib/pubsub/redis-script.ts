import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'

type Argument = string | number | Buffer

/** A script of lua/, which Redis runs in one step. */
export class RedisScript {
  readonly #lua: string
  readonly #sha: string

  /** A script may be made of several files, one after another. */
  constructor (...names: string[]) {
    this.#lua = names.map((name) => readFileSync(new URL(`lua/${name}.lua`, import.meta.url), 'utf8')).join('\n')
    this.#sha = createHash('sha1').update(this.#lua).digest('hex')
  }

  /** Runs it. `cold` sends all of it, for a Redis that may have forgotten it. */
  run (client: Redis | Cluster, names: string[], values: Argument[], cold: boolean): Promise<unknown> {
    return client.callBuffer(cold ? 'EVAL' : 'EVALSHA', cold ? this.#lua : this.#sha, names.length, ...names, ...values)
  }
}
