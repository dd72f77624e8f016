import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import type { ChatCompletionChunk } from 'openai/resources/chat/completions'
import type { Response, ResponseFunctionToolCall, ResponseStreamEvent } from 'openai/resources/responses/responses'

// What OpenAI's API streams, by the types of its package.

/** A stream of the API. `cut` ends the response without its last event, `wait` keeps it open. */
interface Recorded<T> { events: readonly (T | { error: object })[], then?: 'cut' | 'wait' }

type Delta = ChatCompletionChunk.Choice.Delta & { reasoning_content?: string }

function chunk (
  delta: Delta, finish: ChatCompletionChunk.Choice['finish_reason'] = null, index = 0
): ChatCompletionChunk {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1_700_000_000,
    model: 'm',
    choices: [{ index, delta, finish_reason: finish }]
  }
}

const call = (index: number, more: Omit<ChatCompletionChunk.Choice.Delta.ToolCall, 'index'>): ChatCompletionChunk =>
  chunk({ tool_calls: [{ index, ...more }] })

const BUSY = { message: 'secret: too busy', type: 'server_error', code: null, param: null }

export const chatCompletions = {
  text: {
    events: [
      chunk({ role: 'assistant', content: '', refusal: null }),
      chunk({ content: 'It is ' }),
      chunk({ content: 'not mine' }, null, 1),
      chunk({ content: '21 °C 😀.' }),
      chunk({}, 'stop'),
      { ...chunk({}), choices: [], usage: { prompt_tokens: 9, completion_tokens: 5, total_tokens: 14 } }
    ]
  },
  tools: {
    events: [
      chunk({ role: 'assistant', content: null }),
      chunk({ reasoning_content: 'Two ' }),
      chunk({ reasoning_content: 'cities.' }),
      chunk({ content: 'Let me look.' }),
      call(0, { id: 'call_a', type: 'function', function: { name: 'weather', arguments: '' } }),
      call(0, { function: { arguments: '{"ci' } }),
      call(0, { function: { arguments: 'ty":"Oslo"}' } }),
      call(1, { id: 'call_b', type: 'function', function: { name: 'weather', arguments: '' } }),
      call(1, { function: { arguments: '{"city":"Rome"}' } }),
      chunk({}, 'tool_calls')
    ]
  },
  invalid: {
    events: [
      call(0, { id: 'call_a', type: 'function', function: { name: 'weather', arguments: '{"ci' } }), chunk({}, 'length')
    ]
  },
  refusal: { events: [chunk({ role: 'assistant', refusal: 'No.' }), chunk({}, 'content_filter')] },
  error: { events: [chunk({ content: 'It' }), { error: BUSY }] },
  cut: { events: [chunk({ content: 'It' })], then: 'cut' },
  wait: { events: [chunk({ content: 'It' })], then: 'wait' }
} satisfies Record<string, Recorded<ChatCompletionChunk>>

let number = 0

/** An event of a response, with its number. */
function event<Type extends ResponseStreamEvent['type']> (
  type: Type, fields: Omit<Extract<ResponseStreamEvent, { type: Type }>, 'type' | 'sequence_number'>
): ResponseStreamEvent {
  return { type, sequence_number: number++, ...fields } as ResponseStreamEvent // Omit loses which event it is.
}

/** A response has some twenty fields more, which no mapping reads. */
const response = (fields: Partial<Response>): { response: Response } =>
  ({ response: { id: 'resp_1', object: 'response', ...fields } as Response })

const begin = [
  event('response.created', response({ status: 'in_progress' })),
  event('response.in_progress', response({ status: 'in_progress' }))
]

const end = event('response.completed', response({ status: 'completed', error: null, incomplete_details: null }))

function reasoning (at: number, ...summaries: string[][]): ResponseStreamEvent[] {
  const place = { item_id: 'rs_1', output_index: at }
  return [
    event('response.output_item.added', { output_index: at, item: { id: 'rs_1', type: 'reasoning', summary: [] } }),
    ...summaries.flatMap((deltas, index) => {
      const part = { ...place, summary_index: index }
      const text = deltas.join('')
      return [
        event('response.reasoning_summary_part.added', { ...part, part: { type: 'summary_text', text: '' } }),
        ...deltas.map((delta) => event('response.reasoning_summary_text.delta', { ...part, delta })),
        event('response.reasoning_summary_text.done', { ...part, text }),
        event('response.reasoning_summary_part.done', { ...part, part: { type: 'summary_text', text } })
      ]
    })
  ]
}

/** The events of a text up to its end; without its end if it is cut. */
function text (at: number, deltas: string[], isCut = false): ResponseStreamEvent[] {
  const place = { item_id: 'msg_1', output_index: at, content_index: 0 }
  const whole = deltas.join('')
  const item = { id: 'msg_1', type: 'message' as const, role: 'assistant' as const }
  const content = { type: 'output_text' as const, text: whole, annotations: [] }
  return [
    event('response.output_item.added', { output_index: at, item: { ...item, status: 'in_progress', content: [] } }),
    event('response.content_part.added', { ...place, part: { ...content, text: '' } }),
    ...deltas.map((delta) => event('response.output_text.delta', { ...place, delta, logprobs: [] })),
    ...isCut
      ? []
      : [
          event('response.output_text.done', { ...place, text: whole, logprobs: [] }),
          event('response.content_part.done', { ...place, part: content }),
          event('response.output_item.done', {
            output_index: at, item: { ...item, status: 'completed', content: [content] }
          })
        ]
  ]
}

function toolCall (at: number, callId: string, ...deltas: string[]): ResponseStreamEvent[] {
  const place = { item_id: `fc_${at}`, output_index: at }
  const whole = deltas.join('')
  const item: ResponseFunctionToolCall = {
    id: `fc_${at}`, type: 'function_call', call_id: callId, name: 'weather', arguments: ''
  }
  return [
    event('response.output_item.added', { output_index: at, item: { ...item, status: 'in_progress' } }),
    ...deltas.map((delta) => event('response.function_call_arguments.delta', { ...place, delta })),
    event('response.function_call_arguments.done', { ...place, name: 'weather', arguments: whole }),
    event('response.output_item.done', { output_index: at, item: { ...item, arguments: whole, status: 'completed' } })
  ]
}

export const responses = {
  text: { events: [...begin, ...text(0, ['It is ', '21 °C 😀.']), end] },
  tools: {
    events: [
      ...begin,
      ...reasoning(0, ['Two ', 'cities.'], ['Both.']),
      ...text(1, ['Let me ', 'look.']),
      ...toolCall(2, 'call_a', '{"ci', 'ty":"Oslo"}'),
      ...toolCall(3, 'call_b', '{"city":"Rome"}'),
      end
    ]
  },
  invalid: { events: [...begin, ...toolCall(0, 'call_a', '{"ci'), end] },
  incomplete: {
    events: [
      ...begin,
      ...text(0, ['It is '], true),
      event('response.incomplete', response({
        status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }
      }))
    ]
  },
  refusal: {
    events: [
      ...begin,
      event('response.refusal.delta', { item_id: 'msg_1', output_index: 0, content_index: 0, delta: 'No.' }),
      end
    ]
  },
  failed: {
    events: [
      ...begin,
      ...text(0, ['It'], true),
      event('response.failed', response({ status: 'failed', error: { code: 'server_error', message: BUSY.message } }))
    ]
  },
  error: {
    events: [
      ...begin,
      ...text(0, ['It'], true),
      event('error', { code: 'rate_limit_exceeded', message: BUSY.message, param: null })
    ]
  },
  cut: { events: [...begin, ...text(0, ['It'], true)], then: 'cut' },
  wait: { events: [...begin, ...text(0, ['It'], true)], then: 'wait' }
} satisfies Record<string, Recorded<ResponseStreamEvent>>

/** OpenAI's API. The text of the last message is the name of the stream that it answers with. */
export class OpenAIServer {
  readonly url: string
  /** Calls of the API whose response was closed by the client, by the name of the stream. */
  readonly closed: string[] = []

  private constructor (url: string) {
    this.url = url
  }

  static async start (t: Test): Promise<OpenAIServer> {
    const server = createServer(async (request, response) => {
      let body = ''
      for await (const part of request.setEncoding('utf8')) body += part as string
      const { messages, input } = JSON.parse(body) as Record<'messages' | 'input', { content: string }[] | undefined>
      const name = (messages ?? input)?.at(-1)?.content as string
      const { events, then } =
        (messages === undefined ? responses : chatCompletions)[name as 'text'] as Recorded<{ type?: string }>
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const event of events) {
        const line = 'type' in event ? `event: ${event.type}\n` : ''
        response.write(`${line}data: ${JSON.stringify(event)}\n\n`)
      }
      if (then === undefined) response.end(messages === undefined ? '' : 'data: [DONE]\n\n')
      else if (then === 'cut') response.end()
      else response.once('close', () => { openai.closed.push(name) })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => { server.close(); server.closeAllConnections() })
    const openai = new OpenAIServer(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`)
    return openai
  }
}
