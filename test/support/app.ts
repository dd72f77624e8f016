import type { Test } from 'tap'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import realtimePlugin, { type RealtimeOptions } from '../../lib/index.ts'

/**
 * An app with the plugin that listens on a free port of this machine and is closed with the test. By default, it then
 * interrupts its bot messages at once.
 */
export async function startApp (
  t: Test,
  options: RealtimeOptions = {},
  { server = {}, setup = () => {} }: { server?: FastifyServerOptions, setup?: (app: FastifyInstance) => unknown } = {}
): Promise<{ app: FastifyInstance, url: string }> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await setup(app)
  await app.register(realtimePlugin, { botMessageDrainMs: 0, ...options })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  return { app, url: `http://127.0.0.1:${port}` }
}
