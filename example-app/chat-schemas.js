// @ts-check

/** PostgreSQL has no character U+0000. */
const chatId = { type: 'string', minLength: 1, maxLength: 100, pattern: '^[^\\u0000]*$' }

/** `\S` requires a character that is visible. */
const author = { type: 'string', minLength: 1, maxLength: 40, pattern: '\\S' }

export const pageSchema = {
  params: { type: 'object', properties: { chatId } },
  querystring: {
    type: 'object',
    additionalProperties: false,
    properties: { before: { type: 'string', pattern: '^\\d{1,18}$' } }
  }
}

export const messageSchema = {
  params: { type: 'object', properties: { chatId } },
  body: {
    type: 'object',
    required: ['text', 'author'],
    additionalProperties: false,
    properties: {
      // Without a colon, so that it is not the id of a bot message.
      id: { type: 'string', pattern: '^[\\w.-]{8,64}$' },
      text: { type: 'string', minLength: 1, maxLength: 2000, pattern: '\\S' },
      author
    }
  }
}

export const botActionSchema = {
  params: { type: 'object', properties: { chatId } },
  body: {
    type: 'object',
    required: ['actionType'],
    additionalProperties: false,
    properties: {
      actionType: { type: 'string', minLength: 1, maxLength: 40 },
      inReplyTo: { type: 'string', minLength: 1, maxLength: 100 },
      detail: { type: 'string', maxLength: 200 }
    }
  }
}

export const typingSchema = {
  params: { type: 'object', properties: { chatId } },
  body: {
    type: 'object',
    required: ['user', 'typing'],
    additionalProperties: false,
    properties: { user: author, typing: { type: 'boolean' } }
  }
}

export const stopSchema = {
  params: { type: 'object', properties: { chatId, botMessageId: { type: 'string', minLength: 1, maxLength: 100 } } }
}
