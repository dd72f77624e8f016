// @ts-check

/** Where instances tell each other which of them shall stop. */
const CHANNEL = 'example-app:stop'

const stopBody = {
  type: 'object',
  required: ['instanceId'],
  additionalProperties: false,
  properties: { instanceId: { type: 'string', minLength: 1, maxLength: 64 } }
}

/**
 * Says which instance answers, in a header of each response, so that a stream of several chats says it, too. Where something starts an instance
 * again that has ended, any instance can be asked to stop: whoever asks can't choose which one a proxy takes the request to.
 *
 * @param {import('fastify').FastifyInstance} app
 * @param {boolean} restarts
 */
export function instanceRoutes (app, restarts) {
  const instanceId = instanceOf(app)

  app.addHook('onRequest', async (_request, reply) => {
    // The time tells the page what was said before its stream opened, and what after.
    reply.headers({ 'x-instance': instanceId, 'x-served-at': Date.now() })
  })

  app.get('/api/instance', async () => ({ instanceId, restarts }))
  if (!restarts) return

  const unsubscribe = app.pubsub.subscribeExact(CHANNEL, ({ data }) => {
    if (/** @type {{ instanceId: string }} */ (data).instanceId === instanceId) app.close()
  })
  app.addHook('preClose', async () => unsubscribe())

  app.post('/api/instance/stop', { onRequest: refuseOtherSites, schema: { body: stopBody } }, async (request, reply) => {
    await app.pubsub.publish(CHANNEL, request.body, { ephemeral: true })
    // If it is this instance, it closes already, and would wait for the connection to be used again.
    return reply.code(202).header('connection', 'close').send(request.body)
  })
}

/**
 * A page of another site can send a form or plain text here without being asked, but no JSON. Browsers also say where a request comes from.
 *
 * @param {import('fastify').FastifyRequest} request
 * @param {import('fastify').FastifyReply} reply
 */
async function refuseOtherSites ({ headers }, reply) {
  const { 'content-type': type = '', 'sec-fetch-site': site = 'same-origin' } = headers
  if (!/^application\/json\b/i.test(type)) return await reply.code(415).send({ statusCode: 415, error: 'Unsupported Media Type', message: 'Only JSON stops an instance' })
  if (site !== 'same-origin' && site !== 'none') return await reply.code(403).send({ statusCode: 403, error: 'Forbidden', message: 'Another site can’t stop an instance' })
}

/** Both built-in providers have a name for this instance; one of an app's own need not. @param {import('fastify').FastifyInstance} app */
export function instanceOf ({ pubsub }) {
  return 'instanceId' in pubsub ? String(pubsub.instanceId) : pubsub.name
}
