// @ts-check
import { startChild } from './child.js'
import { startNchan } from './nchan.js'
import { publishByPost } from './post.js'

/**
 * A server under test and its clients, each in a process of its own.
 * @typedef {object} Target
 * @property {string} name
 * @property {import('./client.js').Address} address
 * @property {import('./child.js').Child['call']} client Calls a function of client.js.
 * @property {(options: import('./client.js').OpenOptions) => Promise<void>} open Opens streams.
 * @property {() => Promise<void>} begin Starts to measure.
 * @property {() => Promise<number>} end CPU time of the server since then, in µs.
 * @property {(plan: import('./server.js').Plan) => Promise<void>} publish
 * @property {import('./child.js').Child['call']} server Calls a function of server.js.
 * @property {() => Promise<void>} stop
 */

/**
 * How a server is started: in one process, or in workers of `node:cluster`.
 * @typedef {{ file: string, options?: object, workers?: number }} Contender
 */

/** The contenders by name. @type {Record<string, Contender>} */
const CONTENDERS = {
  ours: { file: 'ours' },
  'two workers': { file: 'ours', workers: 2 },
  'ours without log': { file: 'ours', options: { history: false } },
  'ours with authorize': { file: 'ours', options: { authorized: true } },
  'res.write': { file: 'res-write' },
  'res.write with a first event': { file: 'res-write', options: { greets: true } },
  '@fastify/sse': { file: 'fastify-sse' },
  'fastify-sse-v2': { file: 'fastify-sse-v2' },
  'better-sse': { file: 'better-sse' },
  'socket.io': { file: 'socket-io' },
  'socket.io with redis-adapter': { file: 'socket-io' },
  'socket.io with redis-streams-adapter': { file: 'socket-io', options: { streams: true } },
  'autopipelined PUBLISH': { file: 'redis-publish' },
  'plain EVALSHA': { file: 'redis-evalsha' },
  'resumable-stream': { file: 'resumable-stream' },
  'with an outbox': { file: 'outbox' },
  'without an outbox': { file: 'commit-and-publish' },
  'LISTEN/NOTIFY': { file: 'notify' }
}

/**
 * Starts a contender in a process of its own.
 * @param {string} name
 * @param {object} [options]
 * @returns {Promise<Target>}
 */
export async function startTarget (name, options = {}) {
  if (name === 'nchan') return await startNchan()
  const { file, options: own, workers } = /** @type {Contender} */ (CONTENDERS[name])
  const { BENCH_NODE_OPTIONS: execArgv, BENCH_PROFILES: folder } = process.env
  const server = startChild(workers === undefined ? 'server.js' : 'cluster.js', execArgv?.split(' '))
  const client = startChild('client.js')
  const profiles = folder === undefined ? undefined : { folder, name }
  const address = await server.call('start', `./contenders/${file}.js`, { ...own, ...options }, profiles, workers)
  return {
    name,
    address,
    client: client.call,
    open: (options) => client.call('open', { ...address, ...options }),
    begin: () => server.call('begin'),
    end: () => server.call('end'),
    publish: (plan) => server.call('publish', plan),
    server: server.call,
    stop: async () => { await Promise.all([client.stop(), server.stop()]) }
  }
}

/**
 * Starts two instances of a contender that share a Redis.
 * @param {string} name
 * @param {{ url: string }} redis
 */
export function startPair (name, { url: redisUrl }) {
  return Promise.all([startTarget(name, { redisUrl }), startTarget(name, { redisUrl })])
}

/**
 * Starts a contender that is published to over HTTP, as a server in C requires.
 * @param {string} name
 * @returns {Promise<Target>}
 */
export async function startPostTarget (name) {
  const target = await startTarget(name)
  return name === 'nchan' ? target : { ...target, publish: publishByPost(target.address.port, '/:chat') }
}
