import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { ChatEvents, RedisPubSub, type BotMessageWriter } from '../../../lib/index.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { freePort } from '../../support/free-port.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { apart } from './apart.ts'
import { open } from './sides.ts'

t.beforeEach(nothingUnhandled)

t.test('in an outage of Redis pieces are merged, and streaming continues even if Redis lost its data', async (t) => {
  const { redis, one, two } = await apart(t)
  const { stream, reader } = await open(t, two)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once ')
  await reader.text(stream, botMessage.id, 'Once ')
  await redis.kill()
  for (let n = 0; n < 50; n++) botMessage.append(`${n} `)
  await delay(1_200)
  await redis.restart()
  const text = `Once ${Array.from({ length: 50 }, (_, n) => `${n} `).join('')}`
  await reader.text(stream, botMessage.id, text)
  await botMessage.append('end')
  t.same(await botMessage.finish(), { status: 'finished' })
  t.match(await reader.end(stream), { text: `${text}end` })
  t.ok(reader.pieces.length < 10, `${reader.pieces.length} pieces`)
})

t.test('a bot message that is finished after Redis lost it is still in the log', async (t) => {
  const { one, two, admin } = await apart(t)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  await admin.flushall()
  const { stream, reader } = await open(t, two)
  t.same(await botMessage.finish(), { status: 'finished' })
  t.match(await reader.end(stream), { text: 'Once', status: 'finished' })
  const second = await one.app.chatEvents.startBotMessage('c')
  await admin.flushall()
  await until(() => admin.exists('rt:{chat:c}:f'), Boolean)
  t.pass('and one that goes on is put back')
  await second.finish()
})

t.test('a bot message that can\'t be finalized during an outage of Redis is finalized after it', async (t) => {
  const { redis, one, two } = await apart(t, { publishTimeoutMs: 500 }, [
    '--appendonly', 'yes', '--appendfsync', 'always'
  ])
  const answers = await Promise.all([0, 1].map((n) => {
    return one.app.chatEvents.startBotMessage('c', { id: `${n}` })
  })) as [BotMessageWriter, BotMessageWriter]
  for (const botMessage of answers) await botMessage.append('Once')
  await redis.kill()
  await Promise.all([
    t.rejects(answers[0].finish(), { code: /RT_PUBLISH/ }),
    t.rejects(answers[1].stop('stopped'), { code: /RT_PUBLISH/ })
  ])
  await t.rejects(answers[0].append('x'), { code: 'RT_BOT_MESSAGE_ENDED' })
  await redis.restart()
  const { stream, reader } = await open(t, two, 'c', '?rewind=10')
  for (let n = 0; n < 2; n++) await reader.end(stream)
  t.same([...reader.ends.values()].flat().map(({ id, status, text }) => [id, status, text]).sort(), [
    ['0', 'finished', 'Once'], ['1', 'stopped', 'Once']
  ])
  t.same(await answers[0].finish(), { status: 'finished' })
})

t.test('a bot message whose finalize reply is lost is finalized once', async (t) => {
  const { proxy, one, two } = await apart(t)
  const { stream, reader } = await open(t, two)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  const lost = proxy.loseReplyTo('the very end')
  const finished = botMessage.finish({ say: 'the very end' })
  await lost
  t.same(await finished, { status: 'finished' })
  t.match(await reader.end(stream), { status: 'finished' })
  const second = await one.app.chatEvents.startBotMessage('c')
  const pieceLost = proxy.loseReplyTo('a piece')
  const appended = second.append('a piece')
  await pieceLost
  await appended
  await second.append(' and more')
  await reader.text(stream, second.id, 'a piece and more')
  t.same(reader.faults, [])
})

t.test('without Redis from the start, a bot message is refused like any publish', async (t) => {
  const pubsub = new RedisPubSub({ url: `redis://127.0.0.1:${await freePort()}`, publishTimeoutMs: 100 })
  t.teardown(() => pubsub.close())
  const chatEvents = new ChatEvents(pubsub, { log: silentLogger, retryMs: 0 })
  t.teardown(() => chatEvents.cleanupChatSubscriptions())
  await t.rejects(chatEvents.startBotMessage('c'), { code: 'RT_PUBLISH_REJECTED' })
})
