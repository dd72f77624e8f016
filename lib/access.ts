import type { FastifyRequest } from 'fastify'
import { RealtimeError, kindOf } from './errors.ts'
import { getChatChannel } from './pubsub/channel.ts'

/** What `authorize` grants beyond a plain yes. */
export interface AccessGrant {
  /** Who it is: a well-formed string of 1 to 256 characters. Needed for `chatEvents.revoke` and the option `presence`, and counted for `maxConnectionsPerClient`. */
  userId?: string | undefined
  /** When the stream ends, so that the client comes back and is asked again: milliseconds since 1970, or a Date. */
  expiresAt?: number | Date | undefined
}

/** Says whether a request may open a chat. Anything but `true` or a grant refuses; what it throws is answered as any error of a route. */
export type Authorize = (request: FastifyRequest, chatId: string) => boolean | AccessGrant | undefined | Promise<boolean | AccessGrant | undefined>

/** A grant after its checks. */
export interface Grant { userId: string | undefined, expiresAt: number | undefined }

/** One who is being asked about. */
interface Question { chatId: string, revoked: Set<string> }

/** Asks the app who may open a chat. */
export class Access {
  readonly #authorize: Authorize | undefined
  readonly #questions = new Set<Question>()

  constructor (authorize: Authorize | undefined) {
    this.#authorize = authorize
  }

  /** Asks about each chat. Rejects with `RT_CHAT_ID_INVALID`, `RT_FORBIDDEN`, `RT_GRANT_INVALID`, or what `authorize` throws. */
  async check (request: FastifyRequest, chatIds: readonly string[]): Promise<Grant[]> {
    // The app shall be asked about nothing that can't be a chat.
    for (const chatId of chatIds) getChatChannel(chatId)
    const authorize = this.#authorize
    if (authorize === undefined) return chatIds.map(() => ({ userId: undefined, expiresAt: undefined }))
    const questions = chatIds.map((chatId) => ({ chatId, revoked: new Set<string>() }))
    for (const question of questions) this.#questions.add(question)
    try {
      const grants = await Promise.all(chatIds.map(async (chatId) => grantOf(await authorize(request, chatId))))
      // Only now: what was granted first can be revoked while the others are asked about.
      if (questions.some(({ revoked }, index) => revoked.has((grants[index] as Grant).userId ?? ''))) throw new RealtimeError('RT_FORBIDDEN')
      return grants
    } finally {
      for (const question of questions) this.#questions.delete(question)
    }
  }

  /** Takes back what is being granted at this moment: the app may have looked before it changed its mind. */
  revoke (chatId: string, userId: string): void {
    for (const question of this.#questions) if (question.chatId === chatId) question.revoked.add(userId)
  }
}

function grantOf (answer: unknown): Grant {
  if (answer === true) return { userId: undefined, expiresAt: undefined }
  if (answer === false || answer === undefined || answer === null) throw new RealtimeError('RT_FORBIDDEN')
  if (typeof answer !== 'object') throw new RealtimeError('RT_GRANT_INVALID', `authorize returned ${kindOf(answer)}`)
  const { userId, expiresAt } = answer as AccessGrant
  if (userId !== undefined) checkUserId(userId)
  if (expiresAt === undefined) return { userId, expiresAt }
  const until = Number(expiresAt)
  if (Number.isNaN(until) || !(typeof expiresAt === 'number' || expiresAt instanceof Date)) throw new RealtimeError('RT_GRANT_INVALID', `expiresAt is ${kindOf(expiresAt)} that is no time`)
  if (until <= Date.now()) throw new RealtimeError('RT_FORBIDDEN')
  return { userId, expiresAt: until }
}

/** Throws `RT_GRANT_INVALID`. */
export function checkUserId (userId: unknown): string {
  if (isUserId(userId)) return userId
  throw new RealtimeError('RT_GRANT_INVALID', `userId is ${kindOfUserId(userId)}`)
}

/** Whether it can be the id of a user. A lone surrogate is refused, since users would mix: in UTF-8 each is the same. */
export function isUserId (userId: unknown): userId is string {
  return typeof userId === 'string' && userId !== '' && userId.length <= 256 && userId.isWellFormed()
}

/** What a wrong id of a user is. */
export function kindOfUserId (userId: unknown): string {
  return typeof userId === 'string' ? 'an empty, long or ill-formed string' : kindOf(userId)
}
