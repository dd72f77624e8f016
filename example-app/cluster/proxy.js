// @ts-check
import Fastify from 'fastify'
import httpProxy from '@fastify/http-proxy'

/**
 * A proxy that hands each request to the next instance that is ready. Neither cookies nor addresses tie a browser to one: that is
 * what the Redis is for.
 *
 * @param {readonly import('./instance.js').Instance[]} instances
 */
export async function buildProxy (instances) {
  // Closing cuts the open streams; the browsers come back when there is a server again.
  const proxy = Fastify({ forceCloseConnections: true })
  let turn = 0

  await proxy.register(httpProxy, {
    upstream: '',
    // By `node:http`, which opens a connection for each stream and lets it be silent for as long as it likes. The other client has
    // 128 connections for an instance, so that the next stream would wait for ever.
    http: {},
    disableRequestLogging: true,
    replyOptions: {
      getUpstream () {
        const ready = instances.filter((instance) => instance.ready)
        const next = ready[turn++ % ready.length]
        if (next === undefined) throw Object.assign(new Error('No instance is ready'), { statusCode: 503 })
        return next.url
      },
      // The answer "503" is one that people are waiting for: the Redis is away.
      retryDelay: () => null,
      onError (reply) {
        reply.code(502).send({ statusCode: 502, error: 'Bad Gateway', message: 'The instance is gone. Another one answers next time.' })
      }
    }
  })
  return proxy
}
