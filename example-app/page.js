// @ts-check
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import fastifyStatic from '@fastify/static'

/** Nothing comes from elsewhere and nothing is inline, so a forged message could not bring a script along. */
const CONTENT_SECURITY_POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

/** What the page imports as `./fastify-realtime/client.js`: one file, as any bundler makes it of `fastify-realtime/client`. */
const [client] = buildSync({
  entryPoints: [fileURLToPath(import.meta.resolve('fastify-realtime/client'))], bundle: true, minify: true, format: 'esm', target: 'es2022', write: false
}).outputFiles

/** Serves the page. @param {import('fastify').FastifyInstance} app */
export async function pageRoutes (app) {
  app.get('/fastify-realtime/client.js', async (_request, reply) => {
    return reply.type('text/javascript; charset=utf-8').header('x-content-type-options', 'nosniff').send(client?.text)
  })

  await app.register(fastifyStatic, {
    root: new URL('public', import.meta.url),
    setHeaders (response) {
      response.setHeader('content-security-policy', CONTENT_SECURITY_POLICY)
      response.setHeader('x-content-type-options', 'nosniff')
      response.setHeader('referrer-policy', 'no-referrer')
    }
  })
}
