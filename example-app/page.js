// @ts-check
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import fastifyStatic from '@fastify/static'

/** The page has no inline scripts and loads nothing from other sites. So a script in a message could not run either. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'", "object-src 'none'"
].join('; ')

/** The packages that the page imports, each by the path it is served at. Every bundler makes such a file. */
const PACKAGES = new Map([
  ['/fastify-realtime/client.js', bundle('fastify-realtime/client')],
  ['/fastify-realtime/client/bot-messages.js', bundle('fastify-realtime/client/bot-messages')],
  ['/markdown-it.js', bundle('markdown-it')]
])

/** Serves the page. @param {import('fastify').FastifyInstance} app */
export async function pageRoutes (app) {
  for (const [path, code] of PACKAGES) {
    app.get(path, async (_request, reply) => {
      return reply.type('text/javascript; charset=utf-8').header('x-content-type-options', 'nosniff').send(code)
    })
  }

  await app.register(fastifyStatic, {
    root: new URL('public', import.meta.url),
    setHeaders (response) {
      response.setHeader('content-security-policy', CONTENT_SECURITY_POLICY)
      response.setHeader('x-content-type-options', 'nosniff')
      response.setHeader('referrer-policy', 'no-referrer')
    }
  })
}

/** One file with all that a package imports. @param {string} name */
function bundle (name) {
  const entryPoints = [fileURLToPath(import.meta.resolve(name))]
  const { outputFiles } = buildSync({
    entryPoints, bundle: true, minify: true, format: 'esm', target: 'es2022', write: false
  })
  return outputFiles[0]?.text
}
