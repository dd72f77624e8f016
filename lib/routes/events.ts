import type { FastifyInstance } from 'fastify'

/** `GET {prefix}/chats/:chatId/events`: the stream of a chat. */
export function eventsRoute (app: FastifyInstance, prefix: string): void {
  app.get<{ Params: { chatId: string } }>(`${prefix}/chats/:chatId/events`, { exposeHeadRoute: false }, async (request, reply) => {
    await reply.sse.chat(request.params.chatId)
  })
}
