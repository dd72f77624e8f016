/** A page as its author would write it, with the event types that app.ts declares. It is compiled, not run. */
import type * as ai5 from 'ai5'
import * as ai6 from 'ai6'
import type * as ai7 from 'ai7'
import { onUIMessage, realtimeChatTransport, type SendOptions } from 'fastify-realtime/ai/client'
import { onBotMessage } from 'fastify-realtime/client/bot-messages'
import { createRealtimeClient, type ChatEvent, type ClientState, type RealtimeChat } from 'fastify-realtime/client'

const client = createRealtimeClient({
  url: '/api',
  headers: async () => ({ authorization: 'Bearer x' }),
  share: 'user-1',
  signal: AbortSignal.timeout(1_000)
})
const chat: RealtimeChat = client.chat('42', { rewind: 10 })
const undo: () => void = chat.on('message', ({ message, chatId }, { id }) => [
  message.text.length,
  message.role.length,
  chatId.length,
  id?.length
])
undo()
chat.on('poll.closed', ({ votes }) => votes.yes?.toFixed())
chat.on('*', (event) => event.type === 'typing' ? event.user : event.chatId)
chat.on('typing', (event: ChatEvent<'typing'>) => event.user, { signal: AbortSignal.timeout(1_000) })
// @ts-expect-error No such type.
chat.on('typo', () => {})
// @ts-expect-error The field is another type's.
chat.on('typing', ({ votes }) => votes)
// @ts-expect-error Not before its type is known.
chat.on('*', ({ message }) => message)
// @ts-expect-error There is no such option.
client.chat('42', { rewinds: 10 })
// @ts-expect-error A name, so that users are not mixed.
createRealtimeClient({ share: true })
client.onState((state: ClientState) => state.length)
// @ts-expect-error It is closed and not gone.
client.onState((state) => state === 'gone')
client.onRefused(({ status, code, chatId, message }) => [
  status.toFixed(),
  code?.length,
  chatId?.length,
  message.length
])

onBotMessage(chat, ({ id, at, text, chunks, status }, info) => [id.length, at.toFixed(), text, chunks, status, info.id])
const send = async ({ chatId, messages: [first] }: SendOptions<ai6.UIMessage>): Promise<{ id: string }> =>
  ({ id: `${chatId} ${first?.role}` })
const stop = async ({ chatId, id }: { chatId: string, id?: string }): Promise<unknown> => [chatId, id]
const five: ai5.ChatTransport<ai5.UIMessage> =
  realtimeChatTransport<ai5.UIMessage, ai5.UIMessageChunk>({ client, send: async () => new Response() })
const six: ai6.ChatTransport<ai6.UIMessage> =
  realtimeChatTransport<ai6.UIMessage, ai6.UIMessageChunk>({ client, send, stop })
const seven: ai7.ChatTransport<ai7.UIMessage> = realtimeChatTransport({ client, send: async () => ({ id: 'm' }) })
export { five, six, seven }
onUIMessage(chat, ai6.readUIMessageStream, (message: ai6.UIMessage, { id, status }) => [message.parts, id, status])
