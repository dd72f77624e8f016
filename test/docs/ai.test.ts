import t, { type Test } from 'tap'
import * as ai5 from 'ai5'
import * as ai6 from 'ai6'
import * as ai7 from 'ai7'
import type { RealtimeChatTransport } from '../../lib/ai/client/index.ts'
import type { RealtimeClient } from '../../lib/client/index.ts'
import { Document, serveSnippet, writeSnippet } from '../support/snippets.ts'
import { until } from '../support/until.ts'
import { OpenAIServer } from './ai-openai.ts'

const guide = await Document.read('docs/ai.md')
const openAIGuide = await Document.read('docs/openai.md')

t.test('the server of the guide answers the transport of the AI SDK', async (t) => {
  const url = await serveSnippet(t, guide.snippets('On the server')[0])
  const transport = new ai6.DefaultChatTransport({ api: `${url}/api/chats` })
  const stream = await transport.sendMessages({
    trigger: 'submit-message', chatId: 'general', messageId: undefined, messages: [], abortSignal: undefined
  })
  const texts: unknown[] = []
  for await (const { parts } of ai6.readUIMessageStream({ stream })) texts.push(parts.at(-1))
  t.match(texts.at(-1), { type: 'text', text: 'You sent 0 messages', state: 'done' })
  t.equal(await transport.reconnectToStream({ chatId: 'general' }), null)
  const stopped = await fetch(`${url}/api/chats/general/stop`, { method: 'POST' })
  t.same(await stopped.json(), { stopped: true })
})

t.test('an answer arrives over the connection of the chat, for the user who asks and for everyone', async (t) => {
  const [page = '', route = ''] = guide.snippets('Over the connection of the chat')
  const [everyone = ''] = guide.snippets('For everyone in the chat')
  const [server = ''] = guide.snippets('On the server')
  const listen = 'await app.listen'
  const url = await serveSnippet(t, server.replace(listen, `${route}\n${listen}`))
  const { fetch } = globalThis
  t.teardown(() => { globalThis.fetch = fetch })
  globalThis.fetch = (path, init) => fetch(new URL(String(path), url), init)
  const logged = new Promise<unknown[]>((resolve) => {
    t.intercept(console, 'log', { value: (...line: unknown[]) => { if (line[1] === 'finished') resolve(line) } })
  })
  const folder = await writeSnippet(
    t, `${page}\n${everyone.replace("'ai'", "'ai6'")}\nexport { client, transport }`, 'page.js'
  )
  const { client, transport } = await import(`${folder}/page.js`) as {
    client: RealtimeClient, transport: RealtimeChatTransport<ai6.UIMessage, ai6.UIMessageChunk>
  }
  t.teardown(() => client.close())
  const stream = await transport.sendMessages({
    trigger: 'submit-message', chatId: 'general', messageId: undefined, messages: [], abortSignal: undefined
  })
  const texts: unknown[] = []
  for await (const { parts } of ai6.readUIMessageStream({ stream })) texts.push(parts.at(-1))
  t.match(texts.at(-1), { type: 'text', text: 'You sent 0 messages', state: 'done' })
  await transport.stop('general')
  const [, , parts] = await logged
  t.match(parts, [{ type: 'text', text: 'You sent 0 messages', state: 'done' }])
})

/** What the tests use of the AI SDK. Its types differ between the versions. */
interface Sdk {
  DefaultChatTransport: new (options: { api: string }) => { sendMessages (options: object): Promise<unknown> }
  readUIMessageStream (options: { stream: unknown, onError (): void }): AsyncIterable<{ parts: object[] }>
}

/** Serves the guide with one of its functions that ask OpenAI. */
async function serveOpenAI (t: Test, answer: string): Promise<{ url: string, openai: OpenAIServer }> {
  const openai = await OpenAIServer.start(t)
  const [parts, chat, response] = openAIGuide.snippets('The mappings')
  const [asking] = openAIGuide.snippets('On the server')
  const [server = ''] = guide.snippets('On the server')
  const standIn = /\/\/ A stand-in[^]*$/
  t.match(server, standIn)
  const url = await serveSnippet(t, server.replace(standIn, `import { ${answer} as answer } from './answer.js'`), {
    env: { OPENAI_BASE_URL: openai.url, OPENAI_API_KEY: 'k' },
    files: { 'answer.js': asking, 'openai.js': `${parts}\n${chat}\n${response}` }
  })
  return { url, openai }
}

/** Sends the name of a stream of OpenAI as a message. Resolves with the chunks of the answer. */
async function ask (url: string, name: string, sdk: Sdk): Promise<{ chunks: ai6.UIMessageChunk[], parts: object[] }> {
  const stream = await new sdk.DefaultChatTransport({ api: `${url}/api/chats` }).sendMessages({
    trigger: 'submit-message',
    chatId: 'general',
    messages: [{ id: 'u', role: 'user', parts: [{ type: 'text', text: name }] }]
  }) as ReadableStream<ai6.UIMessageChunk>
  const [one, other] = stream.tee()
  let parts: object[] = []
  for await (const message of sdk.readUIMessageStream({ stream: one, onError () {} })) parts = message.parts
  const chunks: ai6.UIMessageChunk[] = []
  for await (const chunk of other) chunks.push(chunk)
  return { chunks, parts }
}

const step = { type: 'step-start' }
const oslo = { type: 'tool-weather', toolCallId: 'call_a', state: 'input-available', input: { city: 'Oslo' } }
const rome = { type: 'tool-weather', toolCallId: 'call_b', state: 'input-available', input: { city: 'Rome' } }
const invalid = { type: 'tool-weather', toolCallId: 'call_a', state: 'output-error' }
const done = (type: string, text: string): object => ({ type, text, state: 'done' })

const expected: Record<string, Record<string, { parts: object[], finishReason?: string }>> = {
  chatCompletion: {
    text: { parts: [step, done('text', 'It is 21 °C 😀.')], finishReason: 'stop' },
    tools: {
      parts: [step, done('reasoning', 'Two cities.'), done('text', 'Let me look.'), oslo, rome],
      finishReason: 'tool-calls'
    },
    invalid: { parts: [step, invalid], finishReason: 'length' },
    refusal: { parts: [step, done('text', 'No.')], finishReason: 'content-filter' },
    error: { parts: [step, { type: 'text', text: 'It', state: 'streaming' }] },
    cut: { parts: [step, { type: 'text', text: 'It', state: 'streaming' }] }
  },
  response: {
    text: { parts: [step, done('text', 'It is 21 °C 😀.')], finishReason: 'stop' },
    tools: {
      parts: [
        step, done('reasoning', 'Two cities.'), done('reasoning', 'Both.'), done('text', 'Let me look.'), oslo, rome
      ],
      finishReason: 'tool-calls'
    },
    invalid: { parts: [step, invalid], finishReason: 'tool-calls' },
    incomplete: { parts: [step, done('text', 'It is ')], finishReason: 'length' },
    refusal: { parts: [step, done('text', 'No.')], finishReason: 'stop' },
    failed: { parts: [step, { type: 'text', text: 'It', state: 'streaming' }] },
    error: { parts: [step, { type: 'text', text: 'It', state: 'streaming' }] },
    cut: { parts: [step, { type: 'text', text: 'It', state: 'streaming' }] }
  }
}

for (const [answer, streams] of Object.entries(expected)) {
  t.test(`the mapping \`${answer}\` makes UI messages of what OpenAI streams`, async (t) => {
    const { url, openai } = await serveOpenAI(t, answer)
    for (const [version, sdk] of Object.entries({ ai5, ai6, ai7 })) {
      for (const [name, { parts: expectedParts, finishReason }] of Object.entries(streams)) {
        const { chunks, parts } = await ask(url, name, sdk as unknown as Sdk)
        t.match(parts, expectedParts, `${version}: ${name}`)
        t.equal(parts.length, expectedParts.length)
        t.match(chunks.at(-1), finishReason === undefined
          ? { type: 'error', errorText: 'The model does not answer. Try again.' }
          : { type: 'finish', finishReason })
      }
    }
    const waiting = ask(url, 'wait', ai6 as unknown as Sdk)
    const stop = (): Promise<Response> => fetch(`${url}/api/chats/general/stop`, { method: 'POST' })
    await until(async () => { await stop(); return openai.closed }, ([first]) => first === 'wait')
    t.match((await waiting).chunks.at(-1), { type: 'abort' })
  })
}
