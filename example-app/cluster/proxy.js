// @ts-check
import Fastify from 'fastify'
import httpProxy from '@fastify/http-proxy'

/**
 * A proxy that passes each request to the next instance that is ready. It has no sticky sessions: with Redis, none are
 * needed.
 *
 * @param {readonly import('./instance.js').Instance[]} instances
 */
export async function buildProxy (instances) {
  // Closing cuts the open streams. The browsers reconnect when the server is back.
  const proxy = Fastify({ forceCloseConnections: true })
  let turn = 0

  await proxy.register(httpProxy, {
    upstream: '',
    // With `node:http`, which opens a connection for each stream and has no timeout for idle ones. The default client
    // has at most 128 connections to an instance, so one more stream would wait for ever.
    http: {},
    disableRequestLogging: true,
    replyOptions: {
      getUpstream () {
        const ready = instances.filter((instance) => instance.ready)
        const next = ready[turn++ % ready.length]
        if (next === undefined) throw Object.assign(new Error('No instance is ready'), { statusCode: 503 })
        return next.url
      },
      // By default, a 503 is retried. Here it means that Redis is unreachable, and the page shows that.
      retryDelay: () => null,
      onError (reply) {
        const message = 'The instance is unreachable. The next request goes to another one.'
        reply.code(502).send({ statusCode: 502, error: 'Bad Gateway', message })
      }
    }
  })
  return proxy
}
