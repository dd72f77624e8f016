import { BOT_MESSAGE_ID_HEADER } from '../ui-message.ts'
import type { JsonSchema, ResponseDescription, RouteDescription } from './describe-route.ts'

const chatId = { type: 'string', minLength: 1, description: 'The id of the chat.' }
const eventId = { type: 'string', description: 'The id of an event: its position in the log of the chat.' }
const params = { type: 'object', properties: { chatId }, required: ['chatId'] }

const lastEventId = { type: 'string', description: 'The last event id that the client has. It gets what came later.' }
const rewind = {
  type: 'string', pattern: '^\\d{1,6}$', description: 'For a new client: the number of past events to start with.'
}

const error = {
  type: 'object',
  properties: {
    statusCode: { type: 'integer' },
    code: { type: 'string', description: 'The code of the error, such as RT_FORBIDDEN.' },
    error: { type: 'string' },
    message: { type: 'string' }
  }
}

const retryAfter = { 'retry-after': { type: 'integer', description: 'Seconds after which to try again.' } }

/** The errors of every route that opens a chat for reading. */
const errors = {
  400: { description: 'The request is invalid.', schema: error },
  403: { description: 'Access to the chat was refused.', schema: error },
  503: { description: 'This instance has too much to do, or is closing.', schema: error, headers: retryAfter }
}

/** The errors of a route that reads what the provider keeps of a chat. */
const readErrors = { ...errors, 501: { description: 'The server keeps no history of chats.', schema: error } }

const unavailable = { description: 'Redis is out of reach. Try again later.', schema: error }

/** Returns the response of a stream. */
function stream (description: string): ResponseDescription {
  return { description, type: 'text/event-stream', schema: { type: 'string' } }
}

const longPoll: JsonSchema = {
  type: 'object',
  description: 'With `Accept: application/json`: the events after the position of the client, or none after a while.',
  properties: {
    events: {
      type: 'array',
      items: {
        type: 'object',
        properties: { id: eventId, event: { type: 'string' }, data: { type: 'object', additionalProperties: true } }
      }
    },
    lastEventId: { ...eventId, description: 'The position of the client from now on, or null.' },
    retryMs: { type: 'integer', description: 'Milliseconds to wait before the next request. Set if the server closes.' }
  }
}

/** Returns the response of a stream of events, which is also a long poll. */
function events (description: string): ResponseDescription {
  return { ...stream(description), otherTypes: { 'application/json': longPoll } }
}

const event: JsonSchema = {
  type: 'object',
  properties: {
    type: { type: 'string', pattern: '^[\\w.-]{1,64}$', description: '`message`, `bot_action`, or a type of the app.' },
    message: { type: 'object', description: 'The message of an event `message`.', additionalProperties: true },
    action: { type: 'object', description: 'The action of an event `bot_action`.', additionalProperties: true }
  },
  required: ['type'],
  additionalProperties: true
}

const storedEvent = {
  type: 'object', properties: { id: eventId, timestamp: { type: 'integer', description: 'Unix time in ms.' }, event }
}

/** The routes of the plugin, for OpenAPI documents. */
export const routeDescriptions = {
  chatStream: {
    summary: 'The events of a chat, as server-sent events',
    params,
    querystring: { type: 'object', properties: { lastEventId, rewind } },
    headers: { type: 'object', properties: { 'last-event-id': lastEventId } },
    responses: { 200: events('The stream begins with an event `ready` and does not end.'), ...errors }
  },
  multiChatStream: {
    summary: 'The events of several chats, as server-sent events',
    querystring: {
      type: 'object',
      properties: {
        chat: {
          type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, description: 'The ids of the chats.'
        },
        lastEventId,
        rewind
      },
      required: ['chat']
    },
    headers: { type: 'object', properties: { 'last-event-id': lastEventId } },
    responses: { 200: events('The stream begins with an event `ready` for each chat and does not end.'), ...errors }
  },
  uiMessageStream: {
    summary: 'The UI message of the AI SDK that is in progress in a chat',
    params,
    responses: {
      200: {
        ...stream('A UI message stream. It ends with the message.'),
        headers: {
          'x-vercel-ai-ui-message-stream': { type: 'string', enum: ['v1'] },
          [BOT_MESSAGE_ID_HEADER]: { type: 'string', description: 'The id of the bot message, percent-encoded.' }
        }
      },
      204: { description: 'No UI message is in progress.' },
      ...readErrors
    }
  },
  botMessage: {
    summary: 'A whole bot message, also while it is streamed',
    params: {
      type: 'object',
      properties: { chatId, id: { type: 'string', minLength: 1, description: 'The id of the bot message.' } },
      required: ['chatId', 'id']
    },
    querystring: {
      type: 'object',
      properties: { at: { type: 'string', pattern: '^\\d{1,15}$', description: 'Only the content from here on.' } }
    },
    responses: {
      200: {
        description: 'The bot message has a text or chunks.',
        schema: {
          type: 'object',
          properties: {
            id: { type: 'string' },
            status: { type: 'string', enum: ['streaming', 'finished', 'failed', 'stopped', 'interrupted'] },
            meta: { type: 'object', additionalProperties: true },
            at: { type: 'integer', description: 'The position where the content begins, if the query has one.' },
            text: { type: 'string' },
            chunks: { type: 'array', items: { type: 'object', additionalProperties: true } },
            extra: { type: 'object', additionalProperties: true },
            error: { type: 'string' }
          }
        }
      },
      ...readErrors,
      404: { description: 'The chat has no such bot message.', schema: error }
    }
  },
  history: {
    summary: 'The stored events of a chat, a page at a time',
    params,
    querystring: {
      type: 'object',
      properties: {
        after: { ...eventId, description: 'The id of an event: only later ones are read.' },
        before: { ...eventId, description: 'The id of an event: only earlier ones are read.' },
        limit: { type: 'string', pattern: '^\\d{1,4}$', description: 'The most events of a page, from 1 to 1000.' }
      }
    },
    responses: {
      200: {
        description: 'The events in the order of the log.',
        schema: {
          type: 'object',
          properties: {
            events: { type: 'array', items: storedEvent },
            lastEventId: { ...eventId, description: 'The end of the log, from which a stream can continue.' },
            gap: { type: 'string', description: 'Why events are missing, or null.' }
          }
        }
      },
      ...readErrors
    }
  },
  publish: {
    summary: 'Publishes an event to a chat',
    params,
    headers: {
      type: 'object',
      properties: {
        'Idempotency-Key': {
          type: 'string', description: 'A string in double quotes. An event is published once with the same key.'
        },
        traceparent: { type: 'string', description: 'The W3C trace context of the event.' }
      }
    },
    body: event,
    responses: {
      202: {
        description: 'The event is published.',
        schema: {
          type: 'object',
          properties: {
            id: eventId,
            duplicate: { type: 'boolean', description: 'Whether it had already been published with the same key.' }
          }
        }
      },
      400: errors[400],
      403: { description: 'The client may not publish to this chat.', schema: error },
      413: { description: 'The event is larger than maxPayloadBytes.', schema: error },
      415: { description: 'The body is not application/json.', schema: error },
      422: { description: 'Another event was published with this Idempotency-Key.', schema: error },
      503: unavailable
    }
  },
  health: {
    summary: 'Whether events can be published and received',
    responses: {
      200: { description: 'They can.', schema: { type: 'object', additionalProperties: true } },
      503: { description: 'They cannot.', schema: { type: 'object', additionalProperties: true } }
    }
  }
} as const satisfies Record<string, RouteDescription>
