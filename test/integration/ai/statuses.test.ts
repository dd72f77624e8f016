import t from 'tap'
import { onUIMessage, type ReadUIMessageStream } from '../../../lib/ai/client/index.ts'
import { streamUIMessage, type UIChunk } from '../../../lib/ai/index.ts'
import type { RealtimeChat } from '../../../lib/client/index.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { setups, type Setup } from '../bot-messages/setups.ts'
import { Page } from '../client/page.ts'
import { load, messageOf, resume, versions } from './sdk.ts'
import { open, setup, Source, text, unused } from './transport.ts'

t.beforeEach(nothingUnhandled)

const begin: UIChunk[] = [{ type: 'start' }, { type: 'text-start', id: 't' }, text('a')]

interface UIMessage { parts: { text?: string }[] }

/** What `onUIMessage` reports of the UI messages of a chat. */
class Seen {
  /** The final states, by the ids of their bot messages. */
  readonly ends = new Map<string, { status: string, content: string | undefined }[]>()
  #check = (): void => {}

  constructor (chat: RealtimeChat, readUIMessageStream: unknown) {
    // The three versions differ in their types.
    onUIMessage(chat, readUIMessageStream as ReadUIMessageStream<UIMessage>, ({ parts }, { id, status }) => {
      if (status === 'streaming') return
      this.ends.set(id, [...this.ends.get(id) ?? [], { status, content: parts.at(-1)?.text }])
      this.#check()
    })
  }

  /** Resolves once a UI message has ended. */
  async end (id: string): Promise<void> {
    while (!this.ends.has(id)) await new Promise<void>((resolve) => { this.#check = resolve })
  }
}

for (const [version, model] of Object.entries(versions)) {
  t.test(`${version}: the last call for a UI message has the status of its bot message`, async (t) => {
    const { sdk: { readUIMessageStream } } = await load(version, model)
    const { one, two } = await (setups['over Redis'] as Setup)(t)
    const { chatEvents } = one.app
    const chat = new Page(t, two.url).client.chat('c')
    const seen = new Seen(chat, readUIMessageStream)
    await chat.ready
    const error = { type: 'error', errorText: 'Too busy' }
    const endings: Record<string, { status: string, end: (id: string, source: Source) => unknown }> = {
      finished: { status: 'finished', end: (_id, source) => source.close() },
      'with an error': { status: 'failed', end: (_id, source) => { source.write(error); source.close() } },
      thrown: { status: 'failed', end: (_id, source) => source.fail(new Error('secret')) },
      'stopped elsewhere': { status: 'stopped', end: (id) => two.app.chatEvents.stopBotMessage('c', id) },
      aborted: { status: 'stopped', end: (_id, source) => { source.write({ type: 'abort' }); source.close() } },
      interrupted: { status: 'interrupted', end: () => chatEvents.interruptBotMessages() }
    }
    for (const [id, { status, end }] of Object.entries(endings)) {
      const source = new Source(...begin)
      const streamed = streamUIMessage(chatEvents, 'c', source.read, { id }).catch(() => {})
      await source.isRead
      await end(id, source)
      await streamed
      await seen.end(id)
      t.same(seen.ends.get(id), [{ status, content: 'a' }], id)
    }
  })

  t.test(`${version}: a UI message beyond maxBotMessageBytes ends once, with an error for each reader`, async (t) => {
    const { sdk } = await load(version, model)
    // With and without room for a chunk with the error.
    for (const maxBotMessageBytes of [120, 1_000]) {
      const { one, two } = await setup(t, { maxBotMessageBytes })
      const { transport, page } = open(t, two, unused)
      const chat = page.client.chat('c')
      const seen = new Seen(chat, sdk.readUIMessageStream)
      await chat.ready
      const source = new Source(...begin)
      const streamed = streamUIMessage(one.app.chatEvents, 'c', source.read, {
        id: 'm', describeError: () => 'The answer is too long'
      })
      await source.isRead
      const streams = [await transport.reconnectToStream({ chatId: 'c' }), await resume(sdk, two.url)]
      source.write(text('x'.repeat(maxBotMessageBytes)))
      await t.rejects(streamed, { code: 'RT_BOT_MESSAGE_TOO_LARGE' })
      for (const stream of streams) {
        const errors: unknown[] = []
        const message = await messageOf(sdk, stream, (error) => errors.push(error))
        t.match(message, { parts: [{ type: 'text', text: 'a' }] })
        t.match(errors, [{ message: 'The answer is too long' }])
        t.equal(errors.length, 1)
      }
      await seen.end('m')
      t.same(seen.ends.get('m'), [{ status: 'failed', content: 'a' }])
      const { events } = await two.app.chatEvents.history('c')
      t.match(events.map(({ event }) => event), [{ type: 'bot_message', id: 'm', status: 'failed' }])
      t.equal(events.length, 1, 'one end in the log')
    }
  })
}
