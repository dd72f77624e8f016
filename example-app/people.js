// @ts-check

const MAX_LENGTH = 40

/**
 * Who a request says it is from: the header that the page sets, or the query's `user`, since an `EventSource` has no headers. There are no
 * accounts, so everybody is believed; an app of your own would look at its session instead.
 *
 * @param {import('fastify').FastifyRequest} request
 * @returns {string | undefined} `undefined` for nobody in particular
 */
export function userOf ({ headers, query }) {
  const name = decode(headers['x-user']) ?? /** @type {{ user?: unknown }} */ (query).user
  return typeof name === 'string' && /\S/.test(name) && name.length <= MAX_LENGTH && name.isWellFormed() ? name : undefined
}

/** Everybody may open every chat; who gives a name is present. @param {import('fastify').FastifyRequest} request */
export function authorize (request) {
  const userId = userOf(request)
  return userId === undefined ? true : { userId }
}

/** Headers are Latin, and names are not. @param {string | string[] | undefined} header */
function decode (header) {
  try {
    return header === undefined ? undefined : decodeURIComponent(String(header))
  } catch {
    return undefined
  }
}
