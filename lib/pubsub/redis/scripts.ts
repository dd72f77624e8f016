import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Command } from 'ioredis'
import type { RedisClient } from './client.ts'
import { budgets } from '../../core/budgets.ts'
import { timing } from '../../core/timing.ts'
import type { History, ProviderValues } from '../provider-options.ts'

type Argument = string | number | Buffer

/** A script from lua/. Redis runs it atomically. */
export class Script {
  readonly name: string
  /** The complete source, as sent with EVAL. */
  readonly lua: string
  readonly sha: string
  /** The smallest and the largest number of keys, as the header of the script lists them. */
  readonly keys: readonly [least: number, most: number]
  readonly #cached: Set<Script>

  /**
   * Joins the constants, the files named by `-- @include` lines (each once), and the script itself, in this order.
   * `cached` contains the scripts that Redis should have in its cache.
   */
  constructor (name: string, constants: Record<string, string | number>, cached: Set<Script>) {
    const head = Object.entries(constants).map(([name, value]) => `local ${name} = '${value}'`)
    const sources = sourcesOf(name)
    this.name = name
    this.lua = [...head, ...sources].join('\n')
    this.keys = keysOf(sources.at(-1) as string) // The script itself is the last one.
    this.sha = createHash('sha1').update(this.lua).digest('hex')
    this.#cached = cached
  }

  /** Returns a call, which can be sent several times. */
  call (): ScriptCall {
    return new ScriptCall(this, this.#cached)
  }
}

/** One call of a script. Sends the source, or only its hash if Redis should have it in its cache. */
export class ScriptCall {
  readonly #script: Script
  readonly #cached: Set<Script>
  #isWhole = false

  constructor (script: Script, cached: Set<Script>) {
    this.#script = script
    this.#cached = cached
  }

  /** Whether the latest sending contained the whole source. After `isForgotten` returned true, the next one will. */
  get isWhole (): boolean {
    return this.#isWhole
  }

  /** Sends the call: the source with EVAL, or only its hash if Redis should have the script in its cache. */
  send (client: RedisClient, keys: string[], args: Argument[]): Promise<unknown> {
    const { name: script, lua, sha, keys: [least, most] } = this.#script
    if (keys.length < least || keys.length > most) throw new Error(`${script}.lua does not take ${keys.length} keys`)
    if (!this.#cached.has(this.#script)) this.#isWhole = true
    // Redis runs later commands of this connection after this one, and has the script by then.
    this.#cached.add(this.#script)
    const command: Argument[] = [this.#isWhole ? lua : sha, keys.length]
    // Loops, because a spread or `concat` takes several times as long.
    for (const name of keys) command.push(name)
    for (const value of args) command.push(value)
    // A raw Command, because `callBuffer` does not work on a client with automatic pipelining.
    return client.sendCommand(new Command(
      this.#isWhole ? 'eval' : 'evalsha',
      command,
      { replyEncoding: null, keyPrefix: client.options.keyPrefix ?? '' }
    )) as Promise<unknown>
  }

  /**
   * Returns whether Redis has lost the script. If so, nothing was done, and the call sends the whole source next time.
   * The call remembers this itself, because each node of a Cluster has its own cache: meanwhile, another call may have
   * loaded the script into the cache of another node.
   */
  isForgotten (error: Error): boolean {
    if (!error.message.startsWith('NOSCRIPT ')) return false
    this.#isWhole = true
    this.#cached.clear()
    return true
  }
}

/** Returns the sources of a script, with the included files first. */
function sourcesOf (name: string, seen = new Set<string>()): string[] {
  if (seen.has(name)) return []
  seen.add(name)
  const source = readFileSync(new URL(`lua/${name}.lua`, import.meta.url), 'utf8')
  const included = [...source.matchAll(/^-- @include (\S+)$/gm)].flatMap(([, other = '']) => sourcesOf(other, seen))
  return [...included, source]
}

/** Returns how many keys a script takes: one for each `KEYS[n]` in its header, and more if there is a `KEYS[...]`. */
function keysOf (source: string): [least: number, most: number] {
  const names = [...source.matchAll(/^-- KEYS\[(\d+|\.\.\.)\]/gm)].map(([, name]) => name)
  const least = names.filter((name) => name !== '...').length
  return [least, least === names.length ? least : Infinity]
}

interface ScriptsOptions
  extends History, Pick<ProviderValues, 'idempotencyTtlMs' | 'publishTimeoutMs' | 'sharded'> {
  /** The scripts that Redis should have in its cache. The owner empties it after a reconnect. */
  cached: Set<Script>
}

/**
 * The scripts that read and change the data of a channel in Redis. Values that are the same for every event are
 * constants in the source, because each argument has a cost.
 */
export class Scripts {
  readonly append: Script
  /**
   * Appends an event and runs the commands that the other scripts need. Its error names the refused command. Its keys
   * expire soon.
   */
  readonly probe: Script
  readonly finalize: Script
  readonly read: Script
  readonly heads: Script
  readonly mark: Script
  readonly changeState: Script
  readonly readState: Script
  readonly readDraft: Script

  constructor ({ size, ttlMs, idempotencyTtlMs, publishTimeoutMs, sharded, cached }: ScriptsOptions) {
    // Times are milliseconds. Keys expire later than promised, so that their expiry need not be renewed for each event.
    const expiry = ttlMs + Math.ceil(ttlMs / 4)
    const constants = {
      PUBLISH: sharded ? 'SPUBLISH' : 'PUBLISH',
      SIZE: size,
      // A log exceeds its size by a few events then, as it does anyway: Redis trims whole nodes of a stream.
      TRIM_EVERY: Math.max(1, Math.floor(size / 64)),
      LOG_TTL: ttlMs,
      LOG_EXPIRY: expiry,
      META_TTL: expiry + timing.metaExtra,
      EMPTY_TTL: timing.emptyLog,
      KEY_TTL: idempotencyTtlMs,
      // A batch is never sent again after this time.
      BATCH_TTL: idempotencyTtlMs + publishTimeoutMs,
      // Differs from every possible outcome of a batch.
      GIVEN_UP: 'given up',
      STATE_TTL: ttlMs + timing.stateExtra,
      // At least as long as an owner may restore a draft, since it must not be finalized twice.
      FINALIZATION_TTL: Math.max(idempotencyTtlMs, ttlMs + timing.stateExtra),
      FAILOVER_LEASE: timing.stateLease,
      LEASE_STEP: timing.idleCheck,
      // Bytes.
      PAGE: budgets.page
    }
    const ttl = timing.healthProbeKeys
    const probing = { ...constants, LOG_TTL: ttl, LOG_EXPIRY: ttl, META_TTL: ttl, BATCH_TTL: ttl }
    const script = (name: string, values: Record<string, string | number> = constants): Script =>
      new Script(name, values, cached)
    this.append = script('append')
    this.probe = script('probe', probing)
    this.finalize = script('finalize')
    this.read = script('read')
    this.heads = script('heads')
    this.mark = script('mark')
    this.changeState = script('change-state')
    this.readState = script('read-state')
    this.readDraft = script('read-draft')
  }
}
