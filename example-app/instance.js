// @ts-check

/** The channel for requests to stop an instance. */
const CHANNEL = 'example-app:stop'

const stopBody = {
  type: 'object',
  required: ['instanceId'],
  additionalProperties: false,
  properties: { instanceId: { type: 'string', minLength: 1, maxLength: 64 } }
}

/**
 * Names this instance in a header of each response, event streams included. If instances are restarted when they exit,
 * any instance accepts the request to stop any other: behind a proxy, the page cannot choose the instance that it asks.
 *
 * @param {import('fastify').FastifyInstance} app
 * @param {boolean} restarts
 */
export function instanceRoutes (app, restarts) {
  const instanceId = instanceOf(app)

  app.addHook('onRequest', async (_request, reply) => {
    // With the time, the page can tell messages sent before its stream opened from later ones.
    reply.headers({ 'x-instance': instanceId, 'x-served-at': Date.now() })
  })

  app.get('/api/instance', async () => ({ instanceId, restarts }))
  if (!restarts) return

  const unsubscribe = app.pubsub.subscribeExact(CHANNEL, ({ data }) => {
    if (/** @type {{ instanceId: string }} */ (data).instanceId === instanceId) app.close()
  })
  app.addHook('preClose', async () => unsubscribe())

  const options = { onRequest: refuseOtherSites, schema: { body: stopBody } }
  app.post('/api/instance/stop', options, async (request, reply) => {
    await app.pubsub.publish(CHANNEL, request.body, { ephemeral: true })
    // If this instance is the one that stops, an idle connection would delay it.
    return reply.code(202).header('connection', 'close').send(request.body)
  })
}

/**
 * Without a preflight request, a page of another site can send a form or plain text here, but not JSON. Browsers also
 * send the origin of a request.
 *
 * @param {import('fastify').FastifyRequest} request
 * @param {import('fastify').FastifyReply} reply
 */
async function refuseOtherSites ({ headers }, reply) {
  const { 'content-type': type = '', 'sec-fetch-site': site = 'same-origin' } = headers
  if (!/^application\/json\b/i.test(type)) {
    const message = 'The body must be JSON'
    return await reply.code(415).send({ statusCode: 415, error: 'Unsupported Media Type', message })
  }
  if (site !== 'same-origin' && site !== 'none') {
    const message = 'A page of another site cannot stop an instance'
    return await reply.code(403).send({ statusCode: 403, error: 'Forbidden', message })
  }
}

/**
 * The built-in providers have an instance id. A custom provider may have none.
 *
 * @param {import('fastify').FastifyInstance} app
 */
export function instanceOf ({ pubsub }) {
  return 'instanceId' in pubsub ? String(pubsub.instanceId) : pubsub.name
}
