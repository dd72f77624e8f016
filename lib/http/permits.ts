import type { FastifyRequest } from 'fastify'
import { RealtimeError, type RealtimeErrorCode } from '../errors.ts'
import { EXPIRED, type Grant } from './grant.ts'
import type { Entrance } from '../chat/entrances.ts'

/**
 * The access of one request to one chat. First it is granted or refused. A granted permit is *admitted* once it is
 * attached to a stream, and has *joined* once this stream has joined the chat. It is held until the stream closes.
 */
export class Permit {
  readonly chatId: string
  readonly request: FastifyRequest
  /** Calls `authorize` in the AsyncLocalStorage context of this request: another context may belong to another user. */
  authorize: (() => unknown) | undefined
  /** An expired grant until `authorize` has granted access, so that `confirm` refuses the permit. */
  grant: Grant = EXPIRED
  /**
   * The continuity number of the revocations when `authorize` was called. While that number does not change, no later
   * revocation can have been missed.
   */
  continuity = 0
  #refusal: unknown
  /** Users whose access was revoked before the permit was admitted. */
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

  /** The error with which the request is refused: one of this package or of the app. */
  get refusal (): unknown {
    return this.#refusal
  }

  /** The code of that error, as the client gets it; `undefined` if the permit was not refused. */
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

  /** Refuses the permit, unless it was refused before. */
  refuse (error: unknown): void {
    this.#refusal ??= error ?? new RealtimeError('RT_FORBIDDEN') // An app can throw undefined.
  }

  /**
   * Handles the revocation of a user's access. Ends the stream if it is the user's. Without a stream, `confirm` refuses
   * the permit if it turns out to be the user's.
   */
  revoke (userId: string): void {
    if (this.#entrance === undefined) (this.#revoked ??= new Set()).add(userId)
    else if (this.userId === userId) this.end()
  }

  /** Refuses the permit if its grant has expired or was revoked while other chats were being authorized. */
  confirm (now: number): void {
    const { userId = '', expiresAt = Infinity } = this.grant
    if (this.#refusal === undefined && (expiresAt <= now || this.#revoked?.has(userId) === true)) {
      this.refuse(new RealtimeError('RT_FORBIDDEN'))
    }
  }

  /** Attaches the permit to a stream, which holds it from now on. */
  admit (entrance: Entrance): void {
    this.#entrance = entrance
  }

  /** Lets the stream join its chat, or releases the chat if the stream has closed. */
  join (): void {
    if (this.#joined) return
    this.#joined = true
    this.#entrance?.join()
  }

  /** Ends the stream. The client reconnects and is authorized again. */
  end (): void {
    this.#entrance?.stream.end()
  }

  endAfter (ms: number): void {
    this.#entrance?.endAfter(ms)
  }
}

/** Holds the permits of open streams. */
export interface PermitHolder {
  admit (permit: Permit, entrance: Entrance): void
  /** Releases a permit that was not admitted. */
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

  /** Refuses permits whose grants are no longer valid. If all are refused, throws the refusal of the first. */
  confirm (): void {
    const now = Date.now()
    for (const permit of this.all) permit.confirm(now)
    if (this.#granted.length === 0) throw this.all[0]?.refusal
  }

  /** The grant of a stream that carries all granted chats: the client's user, and the earliest expiry. */
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
