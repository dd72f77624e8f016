import type { FastifyRequest } from 'fastify'
import { RealtimeError, type RealtimeErrorCode } from '../errors.ts'
import { ANYONE, type Grant } from './grant.ts'
import type { Entrance } from '../rooms/entrance.ts'

/** The access of one request to one chat: asked for, then granted or refused, then held for as long as its stream is open. */
export class Permit {
  readonly chatId: string
  readonly request: FastifyRequest
  /** Calls `authorize` in the AsyncLocalStorage context of the request: another one may be that of another user. */
  ask: (() => unknown) | undefined
  grant: Grant = ANYONE
  /** The continuity of the revocations when `authorize` was called: what was revoked after that is known for as long as it stays the same. */
  since = 0
  #refusal: unknown
  /** Users whose access was revoked while it was not known yet whose this is. */
  #revoked: Set<string> | undefined
  #entrance: Entrance | undefined
  #joined = false

  constructor (chatId: string, request: FastifyRequest) {
    this.chatId = chatId
    this.request = request
  }

  get userId (): string | undefined {
    return this.grant.userId
  }

  /** Why it is refused, if it is: an error of ours or of the app's. */
  get refusal (): unknown {
    return this.#refusal
  }

  /** What the client is given as the reason, where it is refused. */
  get refused (): RealtimeErrorCode | undefined {
    if (this.#refusal === undefined) return undefined
    return this.#refusal instanceof RealtimeError ? this.#refusal.code : 'RT_FORBIDDEN'
  }

  get admitted (): boolean {
    return this.#entrance !== undefined
  }

  get joined (): boolean {
    return this.#joined
  }

  get closed (): boolean {
    return this.#entrance?.stream.closed === true
  }

  /** Refuses it, unless it was refused before. */
  refuse (error: unknown): void {
    this.#refusal ??= error ?? new RealtimeError('RT_FORBIDDEN') // An app can throw undefined.
  }

  /** Takes back the access of a user. */
  revoke (userId: string): void {
    if (this.#entrance === undefined) (this.#revoked ??= new Set()).add(userId)
    else if (this.userId === userId) this.end()
  }

  /** A grant can expire, or be revoked, while others are asked about. */
  confirm (now: number): void {
    const { userId = '', expiresAt = Infinity } = this.grant
    if (this.#refusal === undefined && (expiresAt <= now || this.#revoked?.has(userId) === true)) this.refuse(new RealtimeError('RT_FORBIDDEN'))
  }

  /** From now on it is held by a stream. */
  admit (entrance: Entrance): void {
    this.#entrance = entrance
  }

  /** Lets the stream into its chat, or lets go of the chat where the stream has closed. */
  join (): void {
    if (this.#joined) return
    this.#joined = true
    this.#entrance?.join()
  }

  /** Ends the stream: its client reconnects, and is asked for its access again. */
  end (): void {
    this.#entrance?.stream.end()
  }

  endAfter (ms: number): void {
    this.#entrance?.endAfter(ms)
  }
}

/** What keeps the permits of streams that are open. */
export interface PermitHolder {
  admit (permit: Permit, entrance: Entrance): void
  /** Lets go of one that was not admitted. */
  drop (permit: Permit): void
}

/** The access of one request to each of its chats. */
export class Permits {
  readonly all: readonly Permit[]
  readonly #holder: PermitHolder

  constructor (all: readonly Permit[], holder: PermitHolder) {
    this.all = all
    this.#holder = holder
  }

  get #granted (): Permit[] {
    return this.all.filter(({ refused }) => refused === undefined)
  }

  /** Refuses what does not hold any more. Throws why the first is refused where all are. */
  confirm (): void {
    const now = Date.now()
    for (const permit of this.all) permit.confirm(now)
    if (this.#granted.length === 0) throw this.all[0]?.refusal
  }

  /** What holds for a stream of all that are granted: it is the client's for as long as each of them is. */
  get strictest (): Grant {
    const grants = this.#granted.map(({ grant }) => grant)
    const expiresAt = Math.min(...grants.map(({ expiresAt = Infinity }) => expiresAt))
    return { userId: grants.find(({ userId }) => userId !== undefined)?.userId, expiresAt }
  }

  admit (entrances: readonly Entrance[]): void {
    for (const [index, permit] of this.#granted.entries()) this.#holder.admit(permit, entrances[index] as Entrance)
  }

  release (): void {
    for (const permit of this.all) if (!permit.admitted) this.#holder.drop(permit)
  }
}
