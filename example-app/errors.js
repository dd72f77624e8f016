// @ts-check

/** A SQLSTATE, or a code of Node.js for a connection that cannot be made or has broken. */
const CODE = /^(?:[0-9A-Z]{5}|ECONN[A-Z]+|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/
/** The classes of SQLSTATE that the same statement may get again: of its data, its syntax and its rights. */
const PERMANENT = /^(?:0A|2[0-37]|42|44)...$/
/** The errors of `pg` that have no code. */
const TEXT = /^(?:Connection terminated|timeout exceeded when trying to connect)|is not queryable$/

/**
 * Answers a request that has failed.
 *
 * @param {import('fastify').FastifyError} error
 * @param {import('fastify').FastifyRequest} request
 * @param {import('fastify').FastifyReply} reply
 */
export function answerError (error, request, reply) {
  // Fastify and the plugin set a status. The text of any other error is for the log only.
  if (error.statusCode !== undefined) return reply.send(error)
  request.log.error(error)
  if (isOfDatabase(error)) {
    const message = 'The database is not available. Try again in a moment.'
    return reply.code(503).send({ statusCode: 503, error: 'Service Unavailable', message })
  }
  const message = 'The request has failed. The log of the server has the reason.'
  return reply.code(500).send({ statusCode: 500, error: 'Internal Server Error', message })
}

/** Whether the same attempt may succeed later: the database or Redis is out of reach. @param {unknown} error */
export function isTemporary (error) {
  const { statusCode, code } = /** @type {import('fastify').FastifyError} */ (error)
  if (statusCode !== undefined) return statusCode === 503
  return isOfDatabase(/** @type {Error} */ (error)) && !PERMANENT.test(String(code))
}

/** @param {Error & { code?: unknown }} error */
function isOfDatabase ({ code, message }) {
  return code === undefined ? TEXT.test(message) : CODE.test(String(code))
}
