/**
 * An app as its author would write it. It is compiled, not run: each `@ts-expect-error` is a mistake that must not
 * compile.
 */
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import realtimePlugin, {
  chatEvents, emitChatMessage, emitTyping, getPubSub, LocalPubSub, onChatEvent, pubsub, RealtimeError, RedisPubSub,
  streamBotMessage,
  type BotMessageWriter, type ChatEvent, type ChatEventHandler, type ChatMessage, type PubSubProvider
} from 'fastify-realtime'

declare module 'fastify-realtime' {
  interface ChatMessage { text: string, role: 'user' | 'bot' }
  interface BotAction { actionType: 'thinking' | 'idle' }
  interface BotMessageExtra { tokens: number }
  interface ChatEventMap {
    reaction: { user: string }
    'poll.closed': { votes: Record<string, number> }
  }
}

const app = Fastify({ logger: true })
await app.register(realtimePlugin, { redisUrl: process.env.REDIS_URL, heartbeatMs: 5_000 })
await app.register(realtimePlugin, { redis: new Redis() })
await app.register(realtimePlugin)
await app.register(realtimePlugin, {
  routeOptions: {
    config: { rateLimit: false },
    logLevel: 'warn',
    onRequest: async (request) => {
      request.log.info('x')
    }
  }
})
await app.register(realtimePlugin, { publishRoute: { authorize: async (request) => request.headers.host === 'x' } })
await app.register(realtimePlugin, { publishRoute: false })
// @ts-expect-error Without it anyone could publish.
await app.register(realtimePlugin, { publishRoute: {} })
// @ts-expect-error Only with a function that authorizes.
await app.register(realtimePlugin, { publishRoute: true })
// @ts-expect-error The plugin has the methods of its routes.
await app.register(realtimePlugin, { routeOptions: { method: 'POST' } })
// @ts-expect-error This option does not exist.
await app.register(realtimePlugin, { heartBeatMs: 5_000 })
// @ts-expect-error A number of milliseconds.
await app.register(realtimePlugin, { retryMs: '2s' })

app.post<{ Params: { chatId: string }, Body: ChatMessage }>('/chats/:chatId', async (request, reply) => {
  const { id, duplicate } = await app.chatEvents.emitChatMessage(request.params.chatId, request.body)
  const place: string | undefined = id
  const again: boolean = duplicate
  return reply.code(202).send({ place, again })
})

app.get<{ Params: { chatId: string } }>('/chats/:chatId', async (request, reply) => {
  const last: string | undefined = reply.sse.lastEventId
  if (last === undefined) await reply.sse.send({ event: 'hello', data: { any: ['thing'] } })
  await reply.sse.stream((async function * () { yield { data: 1 } })())
  await reply.sse.chat(request.params.chatId)
  // @ts-expect-error An event has data.
  await reply.sse.send({ event: 'hello' })
  // @ts-expect-error Not an async iterable of events.
  await reply.sse.stream(['text'])
})

// What is published has the fields of its type.
app.chatEvents.emitChatMessage('c', { text: 'hi', role: 'user' })
app.chatEvents.emitBotAction('c', { actionType: 'thinking' })
app.chatEvents.publish('c', { type: 'reaction', user: 'ann' }, { ephemeral: true })
app.chatEvents.publish('c', { type: 'poll.closed', votes: { yes: 1 } })
app.chatEvents.emit('c', { type: 'reaction', user: 'ann' })
emitChatMessage('c', { text: 'hi', role: 'bot' })
// @ts-expect-error The role is missing.
app.chatEvents.emitChatMessage('c', { text: 'hi' })
// @ts-expect-error No such role.
emitChatMessage('c', { text: 'hi', role: 'king' })
// @ts-expect-error A message is an object.
emitChatMessage('c', 'hi')
// @ts-expect-error No such action.
app.chatEvents.emitBotAction('c', { actionType: 'dancing' })
// @ts-expect-error No such type.
app.chatEvents.publish('c', { type: 'typo', user: 'ann' })
// @ts-expect-error How a bot message ends is for this package to say.
app.chatEvents.publish('c', { type: 'bot_message', id: 'a', status: 'finished', at: 0, text: '' })
// @ts-expect-error So is presence.
app.chatEvents.emit('c', { type: 'presence', users: ['ann'] })
// @ts-expect-error So is typing: use emitTyping.
app.chatEvents.publish('c', { type: 'typing', user: 'ann', expiresInMs: 5_000 })
// @ts-expect-error The field is of another type.
app.chatEvents.publish('c', { type: 'reaction', user: 5 })
// @ts-expect-error The field is missing.
app.chatEvents.publish('c', { type: 'reaction' })
// @ts-expect-error The field is another type's.
app.chatEvents.publish('c', { type: 'reaction', votes: {} })
// @ts-expect-error No such option.
app.chatEvents.publish('c', { type: 'reaction', user: 'ann' }, { ephemera: true })
// @ts-expect-error A chat id is a string.
app.chatEvents.emit(5, { type: 'reaction', user: 'ann' })

// Presence and typing.
await app.register(realtimePlugin, { presence: true, authorize: () => true })
await app.register(realtimePlugin, { presence: { graceMs: 5_000 }, authorize: () => true })
// @ts-expect-error No such time.
await app.register(realtimePlugin, { presence: { graceSeconds: 5 } })
const users: string[] = await app.chatEvents.presence('c')
const published: boolean = await app.chatEvents.emitTyping('c', 'ann', { typing: false })
emitTyping('c', users[0] ?? '')
// @ts-expect-error By its id.
emitTyping('c', { id: 'ann', published })

// A bot message is text or chunks, and ends with the data that the app declares.
const tokens = async function * (signal?: AbortSignal): AsyncGenerator<string> {
  if (signal?.aborted !== true) yield 'text'
}
const answer: BotMessageWriter = await app.chatEvents.startBotMessage('c', { id: 'a' })
await answer.append('text')
await answer.fail('Sorry')
const { status } = await answer.finish({ tokens: 1 })
app.chatEvents.streamBotMessage('c', tokens, { extra: () => ({ tokens: 1 }), describeError: (error) => String(error) })
streamBotMessage('c', tokens(answer.signal), { extra: { tokens: 1 } })
await app.chatEvents.stopBotMessage('c', answer.id)
await app.chatEvents.stopBotMessage('c')
const chunks = await app.chatEvents.startBotMessage('c', { format: 'chunks', meta: {}, protocol: 'ui-message' })
await chunks.append({ type: 'start' })
const whole = await app.chatEvents.getBotMessage('c', answer.id)
const content: string | unknown[] | undefined = whole?.chunks === undefined ? whole?.text : whole.chunks
// @ts-expect-error No such format.
app.chatEvents.startBotMessage('c', { format: 'json' })
// @ts-expect-error A text has no chunks.
if (whole?.chunks === undefined) console.log(whole?.chunks.length)
// @ts-expect-error One that has ended is not being streamed.
if (status === 'streaming') answer.append('x')
// @ts-expect-error Text, or an object.
answer.append(5)
// @ts-expect-error No such field.
answer.finish({ token: 1 })
// @ts-expect-error An error's message is for the log.
answer.fail(new Error('secret'))
// @ts-expect-error Neither text nor an object.
app.chatEvents.streamBotMessage('c', (async function * () { yield 1 })())

// Handlers know what they are given by its type.
const undo: () => void = app.chatEvents.onChatEvent('c', (event, { from, timestamp }) => {
  const chatId: string = event.chatId
  switch (event.type) {
    case 'message': return event.message.text.length + event.message.role.length
    case 'bot_action': return event.action.actionType
    case 'bot_message': {
      const { text, at, id, extra } = event
      const failure = event.status === 'failed' && event.error?.length
      return [text?.slice(at), event.chunks?.length, id, extra?.tokens.toFixed(), failure]
    }
    case 'reaction': return event.user
    case 'typing': return [event.user.length, event.expiresInMs.toFixed()]
    case 'presence': return [event.users, event.joined, event.left].map((users) => users?.join())
    case 'poll.closed': return event.votes[chatId]
    default: {
      const none: never = event
      return [none, from.length, timestamp.toFixed()]
    }
  }
})
undo()
const handler: ChatEventHandler = async (event) => {
  // @ts-expect-error Not before its type is known.
  return event.message
}
onChatEvent('c', handler)
chatEvents.off('c', handler)
const reaction = (event: ChatEvent<'reaction'>): string => event.user
// @ts-expect-error It would be given events of other types, too.
onChatEvent('c', reaction)

// The provider carries whatever the app says it does.
const provider: PubSubProvider = app.pubsub
await provider.publish('jobs', { id: 1 })
provider.subscribe<{ id: number }>('jobs:*', ({ channel, data, from, timestamp, id }) => [
  channel.length,
  data.id.toFixed(),
  from.length,
  timestamp.toFixed(),
  id?.length
])()
pubsub.subscribeExact('jobs', ({ data }) => {
  // @ts-expect-error Its type is not declared.
  return data.id
})
const own: PubSubProvider[] = [
  new LocalPubSub(),
  new RedisPubSub({ url: 'redis://host' }),
  new RedisPubSub({ client: new Redis() }),
  getPubSub()
]
// @ts-expect-error One of the two.
const both = new RedisPubSub({ url: 'redis://host', client: new Redis() })

const codeOf = (error: unknown): string => {
  if (!(error instanceof RealtimeError)) return ''
  // @ts-expect-error No such code.
  return error.code === 'RT_NO_SUCH_CODE' ? '' : error.code
}
console.log(own, both, codeOf, content)
