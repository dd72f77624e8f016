import t from 'tap'
import { streamUIMessage } from '../../lib/ai/index.ts'
import type { BotMessageWriting } from '../../lib/bot-messages/writers.ts'
import { LocalPubSub, type BotMessageWriter, type ChatEvents } from '../../lib/index.ts'
import { instance } from '../integration/bot-messages/sides.ts'
import { keepLog } from '../support/log.ts'

t.test('a bot message that is ended elsewhere while a chunk is appended is no failure of the source', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  const source = (async function * () {
    yield { type: 'start' }
    yield {
      type: 'data',
      toJSON: () => {
        chatEvents.stopBotMessage('c', 'm')
        throw new Error('ended')
      }
    }
  })()
  t.same(await streamUIMessage(chatEvents, 'c', source, { id: 'm' }), { id: 'm', status: 'stopped' })
})

t.test('a bot message that ended before its source was opened gets no chunk', async (t) => {
  const writer = {
    id: 'm', signal: AbortSignal.abort(), append: t.fail, finish: async () => ({ status: 'stopped' })
  } as unknown as BotMessageWriter
  const chatEvents = {
    writeBotMessage: async (_chatId: string, _options: object, { write }: BotMessageWriting) => await write(writer)
  } as unknown as ChatEvents
  const hanging = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }
  t.same(await streamUIMessage(chatEvents, 'c', hanging), { status: 'stopped' })
})

t.test('a describeError that fails is logged, and the error of the source is passed on', async (t) => {
  const { log, line } = keepLog()
  const chatEvents = instance(t, new LocalPubSub(), { log })
  const error = new Error('broken')
  const describeError = (): string => { throw new Error('no words') }
  await t.rejects(streamUIMessage(chatEvents, 'c', () => { throw error }, { describeError }), error)
  t.match(await line('describeError failed'), { chatId: 'c', err: { message: 'no words' } })
})
