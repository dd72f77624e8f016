/** A page as an app has it. It shows each message. */
import './events.ts'
import { createRealtimeClient } from 'fastify-realtime/client'
import { onBotMessage } from 'fastify-realtime/client/bot-messages'

const chat = createRealtimeClient().chat('general', { rewind: 10 })
chat.on('message', ({ message: { author, text } }) => { document.body.append(`${author}: ${text}\n`) })
chat.on('poll', ({ votes }) => { document.body.append(`yes: ${votes.yes}\n`) })
// @ts-expect-error There is no such event.
chat.on('typo', () => {})
onBotMessage(chat, ({ text }) => { document.body.append(text ?? '') })
