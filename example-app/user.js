// @ts-check

const MAX_LENGTH = 40

/**
 * The user of a request: from the header that the page sets, or from the query, since an `EventSource` cannot set
 * headers. This app has no accounts and believes every name. A real app uses its session instead.
 *
 * @param {import('fastify').FastifyRequest} request
 * @returns {string | undefined} `undefined` for an anonymous request
 */
export function userOf ({ headers, query }) {
  const name = decode(headers['x-user']) ?? /** @type {{ user?: unknown }} */ (query).user
  const valid = typeof name === 'string' && /\S/.test(name) && name.length <= MAX_LENGTH && name.isWellFormed()
  return valid ? name : undefined
}

/** Every user may open every chat. A user with a name is present. @param {import('fastify').FastifyRequest} request */
export function authorize (request) {
  const userId = userOf(request)
  return userId === undefined ? true : { userId }
}

/**
 * Refuses a request for messages as its stream would be refused.
 *
 * @param {import('fastify').FastifyRequest} request
 * @param {import('fastify').FastifyReply} reply
 */
export async function requireAccess (request, reply) {
  if (authorize(request)) return
  return await reply.code(403).send({ statusCode: 403, error: 'Forbidden', message: 'You may not open this chat' })
}

/** Header values are Latin-1, so the page encodes the name. @param {string | string[] | undefined} header */
function decode (header) {
  try {
    return header === undefined ? undefined : decodeURIComponent(String(header))
  } catch {
    return undefined
  }
}
