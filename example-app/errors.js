// @ts-check

/** A SQLSTATE, or a code of Node.js for a connection that cannot be made or has broken. */
const CODE = /^(?:[0-9A-Z]{5}|ECONN[A-Z]+|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/
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

/** @param {Error & { code?: unknown }} error */
function isOfDatabase ({ code, message }) {
  return code === undefined ? TEXT.test(message) : CODE.test(String(code))
}
