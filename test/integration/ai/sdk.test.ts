import t from 'tap'
import { streamUIMessage, type UIMessageStream } from '../../../lib/ai/index.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { finishOf, weatherAnswer } from '../../support/weather-answer.js'
import { setups, type Setup } from '../bot-messages/setups.ts'
import { heldAfterFirst, load, messageOf, readFrom, resume, versions, watching } from './sdk.ts'
import { answerWith, UIStream } from './ui-stream.ts'

const WORDS = 'The weather in Oslo is **fine**, with 21 degrees é😀.'.split(/(?<= )/)

/** The parts of two steps of a model: it calls a tool, then it answers. */
function stepsOf (version: string): object[][] {
  const finish = (reason: string): object => finishOf(version, reason)
  const start = { type: 'stream-start', warnings: [] }
  return [
    [
      start,
      { type: 'reasoning-start', id: 'r' },
      { type: 'reasoning-delta', id: 'r', delta: 'I need ' },
      { type: 'reasoning-delta', id: 'r', delta: 'the weather' },
      { type: 'reasoning-end', id: 'r' },
      { type: 'tool-call', toolCallId: 'call', toolName: 'weather', input: '{"city":"Oslo","days":[]}' },
      finish('tool-calls')
    ],
    [
      start,
      { type: 'source', sourceType: 'url', id: 's', url: 'https://example.org/', title: 'Weather' },
      { type: 'text-start', id: 't' },
      ...WORDS.map((delta) => ({ type: 'text-delta', id: 't', delta })),
      { type: 'text-end', id: 't' },
      finish('stop')
    ]
  ]
}

for (const [name, version] of Object.entries(versions)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)
    const { sdk, Model } = await load(name, version)
    const read = (stream: unknown): Promise<object | undefined> => messageOf(sdk, stream)

    /** What a model answers, as the app passes it on. */
    const answer = (signal?: AbortSignal): ReadableStream<{ type: string }> => {
      const steps = stepsOf(version)
      const model = new Model({
        doStream: async () => ({ stream: sdk.simulateReadableStream({ chunks: steps.shift(), chunkDelayInMs: 2 }) })
      })
      return weatherAnswer(sdk, model, signal)
    }

    for (const [name, setup] of Object.entries(setups)) {
      t.test(`${name}, the client that asks and a reader on another instance get the same message`, async (t) => {
        const { one, two } = await setup(t, {}, { setup: answerWith })
        const undisturbed = await read(answer())
        let arrive = (): void => {}
        const arrived = new Promise<void>((resolve) => { arrive = resolve })
        const source = (signal: AbortSignal): UIMessageStream => heldAfterFirst(answer(signal), arrived)
        const ended = streamUIMessage(one.app.chatEvents, 'c', source, { id: 'm' })
        const asking = readFrom(sdk, one.url, 'm').then(read)
        await until(() => two.app.chatEvents.activeBotMessage('c', 'ui-message'), (id) => id === 'm')
        const resuming = await resume(sdk, two.url)
        const [asked, resumed] = await Promise.all([asking, read(resuming?.pipeThrough(watching(arrive)))])
        t.same(await ended, { id: 'm', status: 'finished' })
        t.same(asked, { ...undisturbed, id: 'm' })
        t.match(asked, { metadata: { model: 'mock', tokens: 9 } })
        t.ok((asked as { parts: object[] }).parts.length >= 5)
        t.same(resumed, asked, 'the reader that resumes while it is in progress')
        t.same(await read(await readFrom(sdk, two.url, 'm')), asked, 'a late reader, too')
        t.equal(await resume(sdk, two.url), null, 'none is in progress any more')
      })
    }

    t.test('`result.textStream` is a source of a bot message that is a text', async (t) => {
      const { one } = await (setups['in one process'] as Setup)(t)
      const model = new Model({
        doStream: async () => ({ stream: sdk.simulateReadableStream({ chunks: stepsOf(version)[1] }) })
      })
      const { chatEvents } = one.app
      const text = (signal?: AbortSignal): ReadableStream<string> =>
        sdk.streamText({ model, prompt: 'Hi', abortSignal: signal }).textStream
      for (const [id, source] of Object.entries({ given: text(), returned: text })) {
        t.same(await chatEvents.streamBotMessage('c', source, { id }), { id, status: 'finished' })
        t.match(await chatEvents.getBotMessage('c', id), { text: WORDS.join('') })
      }
    })

    t.test('a model that reports an error midway ends it as failed, although the SDK sends more', async (t) => {
      const { one, two } = await (setups['in one process'] as Setup)(t, {}, { setup: answerWith })
      const parts = [{ type: 'text-start', id: 't' }, { type: 'error', error: new Error('secret') }]
      const [start, , , , , , finish] = stepsOf(version)[1] as object[]
      const model = new Model({
        doStream: async () => ({ stream: sdk.simulateReadableStream({ chunks: [start, ...parts, finish] }) })
      })
      const result = sdk.streamText({ model, prompt: 'Hi', onError () {} })
      const types: string[] = []
      const source = async function * (): AsyncGenerator<{ type: string }> {
        for await (const chunk of result.toUIMessageStream({ onError: () => 'Too busy' })) {
          types.push(chunk.type)
          yield chunk
        }
      }
      t.same(await streamUIMessage(one.app.chatEvents, 'c', source, { id: 'm' }), { id: 'm', status: 'failed' })
      t.match(await one.app.chatEvents.getBotMessage('c', 'm'), { status: 'failed', error: 'Too busy' })
      t.ok(types.indexOf('error') < types.length - 1, 'the error is not the last chunk')
      const stream = await UIStream.open(t, `${two.url}/api/ask?id=m`)
      t.same((await stream.rest()).map(({ type }) => type), types, 'the reader gets one error')
    })
  })
}
