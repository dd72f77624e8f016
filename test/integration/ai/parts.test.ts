import t from 'tap'
import { streamUIMessage, type UIChunk, type UIMessageStream } from '../../../lib/ai/index.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { finishOf } from '../../support/weather-answer.js'
import { setups } from '../bot-messages/setups.ts'
import { heldAfterFirst, load, messageOf, readFrom, resume, versions, watching } from './sdk.ts'
import { answerWith } from './ui-stream.ts'

/** An image of some size, as base64. */
const IMAGE = Buffer.from(Array.from({ length: 30_000 }, (_, n) => n % 251)).toString('base64')

/** What a model answers: files and a source beside its text. */
function partsOf (version: string): object[] {
  const file = (data: string): unknown => version === 'V4' ? { type: 'data', data } : data
  return [
    { type: 'stream-start', warnings: [] },
    { type: 'file', mediaType: 'image/png', data: file(IMAGE) },
    { type: 'source', sourceType: 'url', id: 's', url: 'https://example.org/', title: 'Weather' },
    {
      type: 'source', sourceType: 'document', id: 'd', mediaType: 'application/pdf', title: 'Report', filename: 'r.pdf'
    },
    { type: 'text-start', id: 't' },
    { type: 'text-delta', id: 't', delta: 'Here it is.' },
    { type: 'text-end', id: 't' },
    { type: 'file', mediaType: 'text/plain', data: file('aGk=') },
    finishOf(version, 'stop')
  ]
}

const transient: UIChunk = { type: 'data-note', data: { text: 'Looking' }, transient: true }

for (const [name, version] of Object.entries(versions)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)
    const { sdk, Model } = await load(name, version)

    /** The model's answer among parts that the app adds. */
    const answer = (): ReadableStream<UIChunk> => sdk.createUIMessageStream({
      async execute ({ writer }) {
        writer.write({ type: 'start', messageId: 'own', messageMetadata: { model: 'mock', labels: [] } })
        writer.write({ type: 'data-progress', id: 'p', data: { done: 0, list: [] } })
        writer.write({ type: 'data-plain', data: 'without an id' })
        writer.write(transient)
        const model = new Model({
          doStream: async () => ({ stream: sdk.simulateReadableStream({ chunks: partsOf(version) }) })
        })
        const result = sdk.streamText({ model, prompt: 'A chart, please' })
        const own = { sendStart: false, sendFinish: false, sendSources: true }
        for await (const chunk of result.toUIMessageStream(own)) writer.write(chunk as UIChunk)
        writer.write({ type: 'message-metadata', messageMetadata: { tokens: 9 } })
        writer.write({ type: 'data-progress', id: 'p', data: { done: 1, list: [] } })
        writer.write({ type: 'finish', messageMetadata: { seconds: 1.5 } })
      }
    })

    for (const [name, setup] of Object.entries(setups)) {
      t.test(`${name}, files, sources, data parts and metadata arrive as they were sent`, async (t) => {
        const { one, two } = await setup(t, {}, { setup: answerWith })
        const undisturbed = await messageOf(sdk, answer()) as { parts: { type: string }[] }
        t.same(undisturbed.parts.map(({ type }) => type), [
          'data-progress', 'data-plain', 'step-start', 'file', 'source-url', 'source-document', 'text', 'file'
        ], 'the SDK knows all of them')
        t.match(undisturbed, {
          id: 'own',
          parts: [{ id: 'p', data: { done: 1 } }],
          metadata: { model: 'mock', labels: [], tokens: 9, seconds: 1.5 }
        })

        let arrive = (): void => {}
        const arrived = new Promise<void>((resolve) => { arrive = resolve })
        const source = (): UIMessageStream => heldAfterFirst(answer(), arrived)
        const ended = streamUIMessage(one.app.chatEvents, 'c', source, { id: 'm' })
        await until(() => two.app.chatEvents.activeBotMessage('c', 'ui-message'), (id) => id === 'm')
        const received: object[] = []
        const resuming = (await resume(sdk, two.url))?.pipeThrough(watching((chunk) => {
          received.push(chunk)
          arrive()
        }))
        t.same(await messageOf(sdk, resuming), undisturbed, 'for the reader that resumes')
        t.same(await ended, { id: 'm', status: 'finished' })
        t.same(received.filter((chunk) => 'transient' in chunk), [transient], 'it gets what the message does not keep')
        t.same(await messageOf(sdk, await readFrom(sdk, two.url, 'm')), undisturbed, 'for a late reader')
      })
    }
  })
}
