import type { AsyncResource } from 'node:async_hooks'
import type { FastifyRequest } from 'fastify'
import { currentContext } from '../core/async-context.ts'
import type { Linked } from '../core/linked-list.ts'
import { RealtimeError, type RealtimeErrorCode } from '../errors.ts'
import { EXPIRED, type Grant } from './grant.ts'
import type { Entrance } from '../chat/entrances.ts'

/**
 * - `pending`: not attached to a stream yet. It remembers the users whose access is revoked meanwhile.
 * - `refused`: it gets no stream, for the reason of this error.
 * - `admitted`: attached to a stream, which has not joined the chat yet.
 * - `joined`: the stream has joined the chat, or has closed before.
 */
type State =
  | { readonly name: 'pending', readonly revoked: string[] }
  | { readonly name: 'refused', readonly error: unknown }
  | { readonly name: 'admitted' | 'joined', readonly entrance: Entrance }

/** The access of one request to one chat. It is held until its stream closes. */
export class Permit implements Linked<Permit> {
  previous: Permit | undefined
  next: Permit | undefined
  readonly chatId: string
  readonly request: FastifyRequest
  /** An expired grant until `authorize` has granted access, so that `confirm` refuses the permit. */
  grant: Grant = EXPIRED
  /**
   * The continuity number of the revocations when `authorize` was called. While that number does not change, no later
   * revocation can have been missed.
   */
  continuity = 0
  /** The AsyncLocalStorage context of this request; `undefined` until `authorize` is called. */
  #context: AsyncResource | undefined
  #state: State = { name: 'pending', revoked: [] }

  constructor (chatId: string, request: FastifyRequest) {
    this.chatId = chatId
    this.request = request
  }

  /** Calls the app's `authorize` in the context of this request, since another context may belong to another user. */
  authorize<T> (authorize: (request: FastifyRequest, chatId: string) => T): T {
    this.#context ??= currentContext()
    return this.#context.runInAsyncScope(authorize, undefined, this.request, this.chatId)
  }

  get userId (): string | undefined {
    return this.grant.userId
  }

  /** The error with which the request is refused: one of this package or of the app. */
  get refusal (): unknown {
    return this.#state.name === 'refused' ? this.#state.error : undefined
  }

  /** The code of that error, as the client gets it; `undefined` if the permit was not refused. */
  get refused (): RealtimeErrorCode | undefined {
    if (this.#state.name !== 'refused') return undefined
    return this.#state.error instanceof RealtimeError ? this.#state.error.code : 'RT_FORBIDDEN'
  }

  get admitted (): boolean {
    return this.#entrance !== undefined
  }

  get joined (): boolean {
    return this.#state.name === 'joined'
  }

  get closed (): boolean {
    return this.#entrance?.stream.closed === true
  }

  get #entrance (): Entrance | undefined {
    return 'entrance' in this.#state ? this.#state.entrance : undefined
  }

  /** Refuses a pending permit. */
  refuse (error: unknown): void {
    if (this.#state.name !== 'pending') return
    this.#state = { name: 'refused', error }
  }

  /**
   * Handles the revocation of a user's access. Ends the stream if it is the user's. Without a stream, `confirm` refuses
   * the permit if it turns out to be the user's.
   */
  revoke (userId: string): void {
    if (this.#state.name === 'pending') this.#state.revoked.push(userId)
    else if (this.userId === userId) this.end()
  }

  /** Refuses a pending permit if its grant has expired or was revoked while other chats were being authorized. */
  confirm (now: number): void {
    const state = this.#state
    if (state.name !== 'pending' || (!this.isExpired(now) && !state.revoked.includes(this.userId ?? ''))) return
    this.refuse(new RealtimeError('RT_FORBIDDEN'))
  }

  isExpired (now: number): boolean {
    return (this.grant.expiresAt ?? Infinity) <= now
  }

  /** Attaches a pending permit to a stream, which holds it from now on. */
  admit (entrance: Entrance): void {
    this.#state = { name: 'admitted', entrance }
  }

  /** Lets the stream join its chat, or releases the chat if the stream has closed. Does so once. */
  join (): void {
    if (this.#state.name !== 'admitted') return
    const { entrance } = this.#state
    this.#state = { name: 'joined', entrance }
    entrance.join()
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
  /** The permits that were still valid at the last `confirm`. */
  #granted: readonly Permit[] = []

  constructor (all: readonly Permit[], holder: PermitHolder) {
    this.all = all
    this.#holder = holder
  }

  /** Refuses permits whose grants are no longer valid. If all are refused, throws the refusal of the first. */
  confirm (): void {
    const now = Date.now()
    for (const permit of this.all) permit.confirm(now)
    this.#granted = this.all.filter(({ refused }) => refused === undefined)
    if (this.#granted.length === 0) throw this.all[0]?.refusal
  }

  /** The grant of a stream that carries all granted chats: the client's user, and the earliest expiry. */
  get strictest (): Grant {
    const strictest = { userId: undefined as string | undefined, expiresAt: Infinity }
    for (const { grant: { userId, expiresAt = Infinity } } of this.#granted) {
      strictest.userId ??= userId
      strictest.expiresAt = Math.min(strictest.expiresAt, expiresAt)
    }
    return strictest
  }

  admit (entrances: readonly Entrance[]): void {
    for (const [index, permit] of this.#granted.entries()) this.#holder.admit(permit, entrances[index] as Entrance)
  }

  release (): void {
    for (const permit of this.all) if (!permit.admitted) this.#holder.drop(permit)
  }
}
