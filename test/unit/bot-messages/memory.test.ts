import t from 'tap'
import { ChatEvents } from '../../../lib/chat/chat-events.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { LocalPubSub } from '../../../lib/pubsub/local/local-pubsub.ts'
import { keptMemory } from '../../support/kept-memory.ts'

const CASES = [
  { format: 'text', size: 8_000_000, most: 11_000_000, addition: 'wo 😀 ô'.repeat(4) },
  { format: 'chunks', size: 8_000_000, most: 11_000_000, addition: { text: 'word '.repeat(40) } },
  // A piece that were a part of a longer string would keep all of that in memory.
  { format: 'text', size: 50_000, most: 2_000_000, addition: 'wo 😀 ô'.repeat(4) }
] as const

t.test('without Redis, a bot message in progress is in memory once, also if its pieces are small', async (t) => {
  const pubsub = new LocalPubSub()
  const chatEvents = new ChatEvents(pubsub, { log: silentLogger, retryMs: 0, botMessageWindowMs: 0 })
  t.teardown(async () => { chatEvents.close(); await pubsub.close() })
  // A handler makes the instance follow the chat.
  chatEvents.onChatEvent('c', () => {})
  let pieces = 0
  pubsub.state?.watch('chat:c', ({ operation }) => { if (operation === 'append') pieces++ })
  for (const { format, size, most, addition } of CASES) {
    const botMessage = await chatEvents.startBotMessage('c', { format })
    const count = Math.floor(size / Buffer.byteLength(format === 'text' ? addition : JSON.stringify(addition)))
    const before = await keptMemory()
    pieces = 0
    for (let n = 0; n < count; n++) await botMessage.append(addition)
    const taken = await await keptMemory() - before
    t.ok(taken < most, `${taken} for ${size}`)
    t.ok(pieces > count / 10, `${pieces} pieces of ${count}`)
    await botMessage.finish()
    const whole = await chatEvents.getBotMessage('c', botMessage.id)
    const expected = format === 'text' ? addition.repeat(count) : Array(count).fill(addition)
    t.ok(JSON.stringify(whole?.text ?? whole?.chunks) === JSON.stringify(expected), 'and it is whole')
  }
})
