import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * Whether a request asks for JSON instead of an event stream. Tells caches that the response depends on that, beside
 * what it depends on already, such as `origin` with CORS.
 */
export function prefersJson ({ headers: { accept = '' } }: FastifyRequest, reply: FastifyReply): boolean {
  const vary = reply.getHeader('vary')
  const names = vary === undefined ? '' : [vary].flat().join(', ')
  if (names === '') reply.header('vary', 'accept')
  else if (!/(^|,)\s*(accept|\*)\s*(,|$)/i.test(names)) reply.header('vary', `${names}, accept`)
  return accept.includes('application/json') && !accept.includes('text/event-stream')
}
