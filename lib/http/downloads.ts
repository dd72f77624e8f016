import type { FastifyReply, FastifyRequest } from 'fastify'
import { RealtimeError } from '../errors.ts'
import { isOverload } from './overload.ts'
import type { SseContext } from './reply-sse.ts'
import { Connection, isDisconnected } from '../sse/connection.ts'
import { StreamLimits } from '../sse/stream-limits.ts'

/**
 * The responses of this instance with a part of a chat. Fastify sends them. They count against the same limits as
 * streams, but apart from them: a client whose streams reach a limit must still be able to read a long bot message.
 */
export class Downloads {
  readonly #context: SseContext
  readonly #limits: StreamLimits

  constructor (context: SseContext, limits: StreamLimits) {
    this.#context = context
    this.#limits = limits
  }

  /**
   * Grants a request access to a chat until its response is closed. If the access ends before, by expiry or by a
   * revocation, the response is cut. Rejects as `reply.sse.chat` does.
   */
  async admit (request: FastifyRequest, reply: FastifyReply, chatId: string): Promise<void> {
    const { raw } = reply
    const address = (): string => request.ip
    try {
      const reservation = this.#limits.reserve(raw, address)
      const access = await this.#context.authorize(request, [chatId])
      try {
        // If the client has disconnected meanwhile, nothing would release what it holds.
        if (isDisconnected(raw)) return
        const { userId, expiresAt = Infinity } = access.strictest
        this.#limits.claim(reservation, userId, address)
        // A clean end would look like a complete response.
        const response = new Connection(raw, this.#context, true)
        const endAfter = (ms: number): void => response.endAfter(ms)
        endAfter(expiresAt - Date.now())
        access.admit([{ stream: response, join () {}, endAfter }])
      } finally {
        access.release()
      }
    } catch (error) {
      if (error instanceof RealtimeError) this.#context.metrics.refusedDownloads.add(error.code)
      if (isOverload(error)) {
        reply.header('retry-after', Math.ceil(this.#context.connections.reconnectDelayMs() / 1_000))
      }
      throw error
    }
  }
}
