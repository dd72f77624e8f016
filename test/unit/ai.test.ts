import t from 'tap'
import { streamUIMessage } from '../../lib/ai/index.ts'
import type { ChatEvents } from '../../lib/index.ts'

t.test('a bot message that is ended elsewhere while a chunk is appended is no failure of the source', async (t) => {
  const controller = new AbortController()
  const writer = {
    id: 'm',
    signal: controller.signal,
    append: async () => {
      controller.abort()
      throw new Error('ended')
    },
    fail: async () => ({ status: 'interrupted' })
  }
  const chatEvents = { startBotMessage: async () => writer } as unknown as ChatEvents
  const source = (async function * () { yield { type: 'start' } })()
  t.same(await streamUIMessage(chatEvents, 'c', source), { id: 'm', status: 'interrupted' })
})

t.test('a bot message that ended before its source was opened gets no chunk', async (t) => {
  const writer = { id: 'm', signal: AbortSignal.abort(), append: t.fail, finish: async () => ({ status: 'stopped' }) }
  const chatEvents = { startBotMessage: async () => writer } as unknown as ChatEvents
  const hanging = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }
  t.same(await streamUIMessage(chatEvents, 'c', hanging), { id: 'm', status: 'stopped' })
})
