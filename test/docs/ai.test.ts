import t from 'tap'
import { DefaultChatTransport, readUIMessageStream } from 'ai6'
import { Document, serveSnippet } from '../support/snippets.ts'

t.test('the server of the guide answers the transport of the AI SDK', async (t) => {
  const url = await serveSnippet(t, (await Document.read('docs/ai.md')).snippets('On the server')[0])
  const transport = new DefaultChatTransport({ api: `${url}/api/chats` })
  const stream = await transport.sendMessages({
    trigger: 'submit-message', chatId: 'general', messageId: undefined, messages: [], abortSignal: undefined
  })
  const texts: unknown[] = []
  for await (const { parts } of readUIMessageStream({ stream })) texts.push(parts.at(-1))
  t.match(texts.at(-1), { type: 'text', text: 'You sent 0 messages', state: 'done' })
  t.equal(await transport.reconnectToStream({ chatId: 'general' }), null)
  const stopped = await fetch(`${url}/api/chats/general/stop`, { method: 'POST' })
  t.same(await stopped.json(), { stopped: true })
})
