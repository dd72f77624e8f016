import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Command } from 'ioredis'
import { timing } from '../options.ts'
import type { RedisClient } from './redis-client.ts'

type Argument = string | number | Buffer

/** A script of lua/, which Redis runs in one step. */
export class RedisScript {
  /** All of it, as Redis is sent it. */
  readonly lua: string
  readonly #sha: string

  /** A script may be made of several files, one after another. Constants stand before them. */
  constructor (names: readonly string[], constants: Record<string, string | number>) {
    const head = Object.entries(constants).map(([name, value]) => `local ${name} = '${value}'`)
    this.lua = [...head, ...names.map((name) => readFileSync(new URL(`lua/${name}.lua`, import.meta.url), 'utf8'))].join('\n')
    this.#sha = createHash('sha1').update(this.lua).digest('hex')
  }

  /** Runs it. `cold` sends all of it, for a Redis that may have forgotten it. */
  run (client: RedisClient, names: string[], values: Argument[], cold: boolean): Promise<unknown> {
    const args: Argument[] = [cold ? this.lua : this.#sha, names.length]
    // (A spread, as well as `concat`, would take several times as long.)
    for (const name of names) args.push(name)
    for (const value of values) args.push(value)
    // As a command of its own: a client that gathers commands by itself forgets what `callBuffer` is to call.
    return client.sendCommand(new Command(cold ? 'eval' : 'evalsha', args, { replyEncoding: null, keyPrefix: client.options.keyPrefix ?? '' })) as Promise<unknown>
  }
}

export interface RedisScriptsOptions {
  /** Events to keep of each channel. */
  size: number
  /** Milliseconds to keep them after the last one. */
  ttlMs: number
  /** Milliseconds to remember an idempotency key; a batch is remembered for `publishTimeoutMs` longer. */
  idempotencyTtlMs: number
  /** Milliseconds for which a publish is sent again. */
  publishTimeoutMs: number
  /** Whether to broadcast to the shard's own channel. */
  sharded: boolean
}

/** All that is done to what Redis keeps of a channel. What is the same for each event is no argument, of which each costs, but a constant. */
export class RedisScripts {
  readonly append: RedisScript
  /** Appends as well, runs what all the others need, names the command that is refused, and its keys expire soon. */
  readonly probe: RedisScript
  readonly conclude: RedisScript
  readonly read: RedisScript
  readonly mark: RedisScript
  readonly changeState: RedisScript
  readonly readState: RedisScript

  constructor ({ size, ttlMs, idempotencyTtlMs, publishTimeoutMs, sharded }: RedisScriptsOptions) {
    // Times are milliseconds.
    const constants = {
      PUBLISH: sharded ? 'SPUBLISH' : 'PUBLISH',
      SIZE: size,
      LOG_TTL: ttlMs,
      META_TTL: ttlMs + timing.metaExtra,
      EMPTY_TTL: timing.emptyLog,
      KEY_TTL: idempotencyTtlMs,
      // Longer than any of it is sent again.
      BATCH_TTL: idempotencyTtlMs + publishTimeoutMs,
      // No outcome looks like it.
      GIVEN_UP: 'given up',
      STATE_TTL: ttlMs + timing.stateExtra,
      // As long as its owner may put back a text.
      CONCLUSION_TTL: Math.max(idempotencyTtlMs, ttlMs + timing.stateExtra),
      FAILOVER_LEASE: timing.stateLease,
      LEASE_STEP: timing.idleCheck
    }
    const script = (...names: string[]): RedisScript => new RedisScript(['history', ...names], constants)
    this.append = script('log', 'batch', 'append')
    const ttl = timing.healthProbeKeys
    const soon = { ...constants, LOG_TTL: ttl, META_TTL: ttl, BATCH_TTL: ttl }
    this.probe = new RedisScript(['probe', 'history', 'log', 'batch', 'rights', 'append'], soon)
    this.conclude = script('state', 'log', 'batch', 'conclude')
    this.read = script('page', 'read')
    this.mark = script('log', 'mark')
    this.changeState = script('state', 'change-state')
    this.readState = script('state', 'read-state')
  }
}
