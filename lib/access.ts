import type { FastifyRequest } from 'fastify'
import { RealtimeError, type RealtimeErrorCode } from './errors.ts'
import { ANYONE, readGrant, type AccessGrant, type Grant } from './grant.ts'
import type { Logger } from './logger.ts'
import { getChatChannel } from './pubsub/channel.ts'

/** Returns whether a request may open a chat. Anything but `true` or a grant refuses; what it throws is answered as any error of a route. */
export type Authorize = (request: FastifyRequest, chatId: string) => Answer | Promise<Answer>

type Answer = boolean | AccessGrant | null | undefined

export interface AccessOptions {
  /** `undefined` lets everyone in. */
  authorize: Authorize | undefined
  log: Logger
}

/** Asks the app who may open a chat. */
export class Access {
  readonly #options: AccessOptions
  /** The requests that are being asked about, by chat. */
  readonly #asking = new Map<string, Set<Permit>>()
  /** Mistakes that were logged. Each is logged once, since one mistake refuses every request. */
  readonly #logged = new Set<string>()

  constructor (options: AccessOptions) {
    this.#options = options
  }

  /**
   * Asks about each chat. Rejects where all of them are refused, with `RT_CHAT_ID_INVALID`, `RT_FORBIDDEN` or what `authorize` throws; and
   * where `authorize` throws an error that is not a refusal. `release` the permits, whatever becomes of them.
   */
  async check (request: FastifyRequest, chatIds: readonly string[]): Promise<Permits> {
    const permits = new Permits(chatIds.map((chatId) => new Permit(chatId)), (permit) => this.#forget(permit))
    try {
      await Promise.all(permits.all.map((permit) => this.#ask(permit, request)))
      permits.confirm()
      return permits
    } catch (error) {
      permits.release()
      throw error
    }
  }

  /** Takes back what is being granted at this moment: the app may have looked before it changed its mind. */
  revoke (chatId: string, userId: string): void {
    for (const permit of this.#asking.get(chatId) ?? []) permit.revoke(userId)
  }

  async #ask (permit: Permit, request: FastifyRequest): Promise<void> {
    const { chatId } = permit
    try {
      // An id that cannot be a chat's is no question for the app.
      getChatChannel(chatId)
      permit.grant = await this.#grant(permit, request)
    } catch (error) {
      if (typeof chatId !== 'string' || !isRefusal(error)) throw error
      permit.refuse(error)
    }
  }

  async #grant (permit: Permit, request: FastifyRequest): Promise<Grant> {
    const { authorize } = this.#options
    if (authorize === undefined) return ANYONE
    const { chatId } = permit
    const asking = this.#asking.get(chatId) ?? new Set()
    this.#asking.set(chatId, asking.add(permit))
    const grant = readGrant(await authorize(request, chatId))
    if (typeof grant === 'object') return grant
    if (grant !== undefined) this.#logMistake(grant)
    throw new RealtimeError('RT_FORBIDDEN')
  }

  #logMistake (mistake: string): void {
    const { code, message } = new RealtimeError('RT_GRANT_INVALID', mistake)
    // What differs in the name of a field only is the same mistake.
    const kind = mistake.replace(/the field \w+/, 'another field')
    if (this.#logged.has(kind)) return
    this.#logged.add(kind)
    this.#options.log.error({ code }, message)
  }

  #forget (permit: Permit): void {
    const asking = this.#asking.get(permit.chatId)
    if (asking?.delete(permit) === true && asking.size === 0) this.#asking.delete(permit.chatId)
  }
}

/** The access of one request to one chat. */
export class Permit {
  readonly chatId: string
  grant: Grant = ANYONE
  #refusal: unknown
  #revoked: Set<string> | undefined

  constructor (chatId: string) {
    this.chatId = chatId
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

  refuse (error: unknown): void {
    this.#refusal = error
  }

  /** The access of a user was revoked while it is not known yet whose this is. */
  revoke (userId: string): void {
    this.#revoked ??= new Set()
    this.#revoked.add(userId)
  }

  /** A grant can expire, or be revoked, while others are asked about. */
  confirm (now: number): void {
    const { userId = '', expiresAt = Infinity } = this.grant
    if (this.#refusal === undefined && (expiresAt <= now || this.#revoked?.has(userId) === true)) this.refuse(new RealtimeError('RT_FORBIDDEN'))
  }
}

/** The access of one request to each of its chats. */
export class Permits {
  readonly all: readonly Permit[]
  readonly #onRelease: (permit: Permit) => void

  constructor (all: readonly Permit[], onRelease: (permit: Permit) => void) {
    this.all = all
    this.#onRelease = onRelease
  }

  /** Refuses what does not hold any more. Throws why the first is refused where all are. */
  confirm (): void {
    const now = Date.now()
    for (const permit of this.all) permit.confirm(now)
    if (this.all.every(({ refused }) => refused !== undefined)) throw this.all[0]?.refusal
  }

  /** What holds for a stream of all that are granted: it is the client's for as long as each of them is. */
  get strictest (): Grant {
    const grants = this.all.filter(({ refused }) => refused === undefined).map(({ grant }) => grant)
    const expiresAt = Math.min(...grants.map(({ expiresAt = Infinity }) => expiresAt))
    return { userId: grants.find(({ userId }) => userId !== undefined)?.userId, expiresAt }
  }

  /** Lets go of them. */
  release (): void {
    for (const permit of this.all) this.#onRelease(permit)
  }
}

/**
 * Whether an error keeps this client out of this chat. Others are failures, which say nothing about access; 429 asks for patience. Fastify
 * reads the status from the same two fields.
 */
function isRefusal (error: unknown): boolean {
  const { statusCode, status = 500 } = Object(error) as { statusCode?: unknown, status?: unknown }
  const code = statusCode ?? status
  return typeof code === 'number' && code >= 400 && code < 500 && code !== 429
}
