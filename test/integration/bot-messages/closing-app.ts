/** A process whose app closes during a bot message. Nothing else keeps the process alive. */
import Fastify from 'fastify'
import realtimePlugin from '../../../lib/index.ts'

const app = Fastify()
await app.register(realtimePlugin, { botMessageDrainMs: 100 })
await app.ready()
const { signal } = await app.chatEvents.startBotMessage('c')
await app.close()
console.log(signal.aborted ? 'interrupted' : 'not interrupted')
