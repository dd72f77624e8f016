import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Command } from 'ioredis'
import type { RedisClient } from './client.ts'
import { timing } from '../../core/timing.ts'

type Argument = string | number | Buffer

/** A script of lua/, which Redis runs in one step. */
export class Script {
  /** All of it, as Redis is sent it. */
  readonly lua: string
  readonly #sha: string

  /** The constants stand before the script, and before it the files that its lines `-- @include` name, each once. */
  constructor (name: string, constants: Record<string, string | number>) {
    const head = Object.entries(constants).map(([name, value]) => `local ${name} = '${value}'`)
    this.lua = [...head, ...sourcesOf(name)].join('\n')
    this.#sha = createHash('sha1').update(this.lua).digest('hex')
  }

  /** Runs it. `cold` sends all of it, for a Redis that may have forgotten it. */
  run (client: RedisClient, keys: string[], args: Argument[], cold: boolean): Promise<unknown> {
    const command: Argument[] = [cold ? this.lua : this.#sha, keys.length]
    // (A spread, as well as `concat`, would take several times as long.)
    for (const name of keys) command.push(name)
    for (const value of args) command.push(value)
    // As a command of its own: a client that gathers commands by itself forgets what `callBuffer` is to call.
    return client.sendCommand(new Command(cold ? 'eval' : 'evalsha', command, { replyEncoding: null, keyPrefix: client.options.keyPrefix ?? '' })) as Promise<unknown>
  }
}

/** The files of a script, those that it includes first. */
function sourcesOf (name: string, seen = new Set<string>()): string[] {
  if (seen.has(name)) return []
  seen.add(name)
  const source = readFileSync(new URL(`lua/${name}.lua`, import.meta.url), 'utf8')
  const included = [...source.matchAll(/^-- @include (\S+)$/gm)].flatMap(([, other = '']) => sourcesOf(other, seen))
  return [...included, source]
}

export interface ScriptsOptions {
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
export class Scripts {
  readonly append: Script
  /** Appends as well, runs what all the others need, names the command that is refused, and its keys expire soon. */
  readonly probe: Script
  readonly finalize: Script
  readonly read: Script
  readonly mark: Script
  readonly changeState: Script
  readonly readState: Script

  constructor ({ size, ttlMs, idempotencyTtlMs, publishTimeoutMs, sharded }: ScriptsOptions) {
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
      FINALIZATION_TTL: Math.max(idempotencyTtlMs, ttlMs + timing.stateExtra),
      FAILOVER_LEASE: timing.stateLease,
      LEASE_STEP: timing.idleCheck
    }
    const ttl = timing.healthProbeKeys
    this.append = new Script('append', constants)
    this.probe = new Script('probe', { ...constants, LOG_TTL: ttl, META_TTL: ttl, BATCH_TTL: ttl })
    this.finalize = new Script('finalize', constants)
    this.read = new Script('read', constants)
    this.mark = new Script('mark', constants)
    this.changeState = new Script('change-state', constants)
    this.readState = new Script('read-state', constants)
  }
}
