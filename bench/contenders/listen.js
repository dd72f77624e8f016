// @ts-check

/**
 * Listens on a free port, with a backlog for many clients that connect at once.
 * @param {import('node:net').Server | import('fastify').FastifyInstance} server
 * @returns {Promise<number>}
 */
export async function listen (server) {
  const options = { port: 0, host: '127.0.0.1', backlog: 4096 }
  if ('inject' in server) await server.listen(options)
  else await new Promise((resolve, reject) => server.once('error', reject).listen(options, () => resolve(undefined)))
  const listening = 'inject' in server ? server.server : server
  return /** @type {import('node:net').AddressInfo} */ (listening.address()).port
}
