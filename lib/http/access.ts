import type { FastifyRequest } from 'fastify'
import { RealtimeError } from '../errors.ts'
import { ANONYMOUS, readGrant, type AccessGrant } from './grant.ts'
import { LimitedQueue } from '../core/limited-queue.ts'
import { LinkedList } from '../core/linked-list.ts'
import type { Logger } from '../core/logger.ts'
import { Permit, Permits, type PermitHolder } from './permits.ts'
import { getChatChannel } from '../pubsub/names.ts'
import { logRepeated, type RepeatedFailure } from '../observability/repeated-failure.ts'
import { withTimeout } from '../core/with-timeout.ts'
import type { RevocationListener, RevocationWatch } from '../chat/revocations.ts'
import { timing } from '../core/timing.ts'
import type { Entrance } from '../chat/entrances.ts'

/**
 * Returns whether a request may open a chat. Any value other than `true` or a grant refuses access. An error that it
 * throws is handled like any error of a route.
 */
export type Authorize = (request: FastifyRequest, chatId: string) => AuthorizeResult | Promise<AuthorizeResult>

type AuthorizeResult = boolean | AccessGrant | null | undefined

interface AccessOptions {
  /** `undefined` grants access to every request. */
  authorize: Authorize | undefined
  log: Logger
  watchRevocations (listener: RevocationListener): RevocationWatch
}

const MISSED: RepeatedFailure = {
  level: 'warn',
  message: 'Revocations may have been missed: open streams are authorized again'
}

/** Maximum number of streams that are reauthorized at the same time. */
const MAX_CONCURRENT = 32

/**
 * Calls the app's `authorize`, and holds the permit of each stream while the stream is open. A grant is valid only if
 * no revocation can have been missed since `authorize` was called. If one may have been missed, `authorize` is called
 * again; a stream that has not joined its chat yet waits for the result.
 */
export class Access implements PermitHolder {
  readonly #options: AccessOptions
  readonly #revocations: RevocationWatch | undefined
  /** By chat id: the permits that are being authorized, and those of open streams. */
  readonly #permits = new Map<string, LinkedList<Permit>>()
  readonly #reauthorizing = new LimitedQueue<Permit>(MAX_CONCURRENT, (permit) => this.#reauthorize(permit))
  /** The continuity number at the last check of the open streams: see `Permit.continuity`. */
  #checked = 0
  readonly #timers = new Set<NodeJS.Timeout>()
  /** Mistakes that were logged already. Each is logged only once, since the same mistake refuses every request. */
  readonly #logged = new Set<string>()

  constructor (options: AccessOptions) {
    this.#options = options
    if (options.authorize === undefined) return
    this.#revocations = options.watchRevocations({
      // Copied, since a permit leaves the list when its stream ends.
      revoked: (chatId, userId) => { for (const permit of [...this.#permits.get(chatId) ?? []]) permit.revoke(userId) },
      synced: () => this.#synced()
    })
  }

  /**
   * Authorizes the request for each chat. If every chat is refused, rejects with `RT_CHAT_ID_INVALID`, `RT_FORBIDDEN`
   * or the error of `authorize`. Also rejects if `authorize` throws an error that is not a refusal. The caller must
   * always call `release` on the permits.
   */
  async check (request: FastifyRequest, chatIds: readonly string[]): Promise<Permits> {
    const permits = new Permits(chatIds.map((chatId) => new Permit(chatId, request)), this)
    try {
      await Promise.all(permits.all.map((permit) => this.#authorizeOrRefuse(permit)))
      permits.confirm()
      return permits
    } catch (error) {
      permits.release()
      throw error
    }
  }

  admit (permit: Permit, entrance: Entrance): void {
    const { stream } = entrance
    permit.admit(entrance)
    const leave = (): void => {
      this.drop(permit)
      permit.join()
    }
    // Without `authorize` no access can be revoked. The stream of a HEAD request has already ended.
    if (this.#revocations === undefined || stream.closed) return leave()
    stream.onClose(leave)
    this.#joinOrReauthorize(permit)
  }

  drop (permit: Permit): void {
    this.#reauthorizing.delete(permit)
    const permits = this.#permits.get(permit.chatId)
    if (permits?.delete(permit) === true && permits.size === 0) this.#permits.delete(permit.chatId)
  }

  close (): void {
    this.#revocations?.stop()
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  async #authorizeOrRefuse (permit: Permit): Promise<void> {
    try {
      await this.#authorize(permit)
    } catch (error) {
      if (typeof permit.chatId !== 'string' || !isRefusal(error)) throw error
      permit.refuse(error)
    }
  }

  /** Gets a new grant. Rejects with the error of a refusal, or of `authorize`. */
  async #authorize (permit: Permit): Promise<void> {
    const { chatId } = permit
    // Throws for an invalid chat id, so that `authorize` never sees one.
    getChatChannel(chatId)
    const { authorize } = this.#options
    if (authorize === undefined) {
      permit.grant = ANONYMOUS
      return
    }
    let permits = this.#permits.get(chatId)
    if (permits === undefined) this.#permits.set(chatId, permits = new LinkedList())
    // A permit whose stream is authorized again is in the list already.
    if (!permits.has(permit)) permits.add(permit)
    const continuity = this.#continuity
    const grant = readGrant(await permit.authorize(authorize))
    if (typeof grant === 'string') this.#logMistake(grant)
    if (typeof grant !== 'object') throw new RealtimeError('RT_FORBIDDEN')
    permit.continuity = continuity
    permit.grant = grant
  }

  get #continuity (): number {
    return (this.#revocations as RevocationWatch).continuity // Permits are held only if there is a watch.
  }

  /**
   * Once revocations are in sync, lets a stream join its chat, or reauthorizes it if a revocation may have been missed.
   */
  #joinOrReauthorize (permit: Permit): void {
    if (this.#revocations?.inSync !== true) return
    if (permit.continuity !== this.#continuity) return this.#reauthorizing.add(permit)
    // The timer that ends the stream on expiry can be late.
    if (permit.isExpired(Date.now())) permit.end()
    else permit.join()
  }

  /** Lets waiting streams join. Reauthorizes open streams if a revocation may have been missed. */
  #synced (): void {
    const continuity = this.#continuity
    const admitted = [...this.#permits.values()].flatMap((permits) => [...permits]).filter((permit) => permit.admitted)
    for (const permit of admitted) if (!permit.joined) this.#joinOrReauthorize(permit)
    if (this.#checked === continuity) return
    this.#checked = continuity
    const stale = admitted.filter((permit) => permit.joined && permit.continuity !== continuity)
    if (stale.length === 0) return
    logRepeated(this.#options.log, MISSED, { streams: stale.length })
    // Spread over time, so that not all streams call `authorize` at once.
    for (const permit of stale) {
      this.#later(Math.random() * timing.accessSpread, () => {
        if (this.#isStale(permit, continuity)) this.#reauthorizing.add(permit)
      })
    }
    // Access that cannot be confirmed in time must not continue.
    this.#later(timing.accessDeadline, () => {
      for (const permit of stale) if (this.#isStale(permit, continuity)) permit.end()
    })
  }

  #isStale (permit: Permit, continuity: number): boolean {
    return permit.continuity < continuity && !permit.closed
  }

  #later (ms: number, callback: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      callback()
    }, ms).unref()
    this.#timers.add(timer)
  }

  /**
   * Reauthorizes an open stream. Never rejects. If access is refused or `authorize` fails, the stream is ended; the
   * client then reconnects and gets the error as its response.
   */
  async #reauthorize (permit: Permit): Promise<void> {
    const { userId, expiresAt = Infinity } = permit.grant
    const granted = await withTimeout(this.#authorize(permit), timing.accessDeadline).then(() => true, () => false)
    if (permit.closed) return this.drop(permit)
    if (!granted || permit.userId !== userId) return permit.end()
    const until = permit.grant.expiresAt ?? Infinity
    if (until < expiresAt) permit.endAfter(until - Date.now())
    this.#joinOrReauthorize(permit)
  }

  #logMistake (mistake: string): void {
    const { code, message } = new RealtimeError('RT_GRANT_INVALID', mistake)
    // Mistakes that differ only in the name of a field count as the same.
    const kind = mistake.replace(/the field \w+/, 'another field')
    if (this.#logged.has(kind)) return
    this.#logged.add(kind)
    this.#options.log.error({ code }, message)
  }
}

/**
 * Returns whether an error refuses this client access to this chat. Other errors are failures that say nothing about
 * access, and 429 only asks the client to wait. Fastify reads the status from the same two fields.
 */
function isRefusal (error: unknown): boolean {
  const { statusCode, status = 500 } = Object(error) as { statusCode?: unknown, status?: unknown }
  const code = statusCode ?? status
  return typeof code === 'number' && code >= 400 && code < 500 && code !== 429
}
