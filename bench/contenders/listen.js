// @ts-check

/**
 * Listens on a free port, with room for many clients that come at once.
 * @param {import('node:net').Server | import('fastify').FastifyInstance} server
 * @returns {Promise<number>}
 */
export async function listen (server) {
  const options = { port: 0, host: '127.0.0.1', backlog: 4096 }
  if ('inject' in server) await server.listen(options)
  else await new Promise((resolve, reject) => server.once('error', reject).listen(options, () => resolve(undefined)))
  const { address } = 'inject' in server ? { address: () => server.server.address() } : { address: () => server.address() }
  return /** @type {import('node:net').AddressInfo} */ (address()).port
}
