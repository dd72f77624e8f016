// Imports point one way. A folder may import those that stand in its line, and itself; type imports count.
// docs/architecture.md says why.
const BASE = ['errors', 'event-types']
const CORE = [...BASE, 'core']
const OBSERVABILITY = [...CORE, 'observability']
const ROOMS = [...OBSERVABILITY, 'sse', 'pubsub', 'rooms']
const CHAT = [...ROOMS, 'presence', 'bot-messages', 'chat']
const HTTP = [...CHAT, 'ui-message', 'http']
const layers = {
  errors: [],
  'event-types': [],
  // Runs in browsers, too.
  'ui-message': ['event-types'],
  core: BASE,
  observability: CORE,
  sse: OBSERVABILITY,
  pubsub: OBSERVABILITY,
  rooms: ROOMS,
  presence: ROOMS,
  'bot-messages': ROOMS,
  chat: CHAT,
  http: HTTP,
  options: HTTP,
  runtime: [...HTTP, 'options'],
  standalone: [...HTTP, 'options', 'runtime'],
  plugin: [...HTTP, 'options', 'runtime', 'standalone'],
  index: [...HTTP, 'options', 'runtime', 'standalone', 'plugin'],
  // The client runs in browsers, so it may use only what needs nothing of Node.
  client: ['event-types', 'core/listeners'],
  // What only some apps need: it uses what other apps can use, too.
  'ai/client': ['event-types', 'client', 'ui-message'],
  ai: ['event-types', 'errors', 'core/source-reader', 'ui-message', 'index'],
  outbox: CHAT,
  cli: CHAT,
  react: ['event-types', 'client'],
  contracts: [...OBSERVABILITY, 'pubsub'],
  // Tests of apps see what clients see.
  testing: ['client']
}
const path = (names) => `^lib/(${names.join('|')})(/|\\.ts$)`

/** Run by `npm run lint`. */
export default {
  forbidden: [
    { name: 'no-circle', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true, path: '^\\.' } },
    { name: 'known-layer', severity: 'error', from: { path: '^lib/', pathNot: path(Object.keys(layers)) }, to: {} },
    ...Object.entries(layers).map(([name, allowed]) => ({
      name: `${name}-imports`,
      comment: `${name} may import ${allowed.join(', ') || 'nothing of lib'}`,
      severity: 'error',
      // A folder of its own layer inside of another one.
      from: { path: path([name]), ...name === 'ai' && { pathNot: path(['ai/client']) } },
      to: { path: '^lib/', pathNot: path([name, ...allowed]) }
    })),
    // The local and the Redis provider know nothing of each other.
    {
      name: 'local-apart', severity: 'error', from: { path: '^lib/pubsub/local/' }, to: { path: '^lib/pubsub/redis/' }
    },
    { name: 'redis-apart', severity: 'error', from: { path: '^lib/pubsub/redis/' }, to: { path: '^lib/pubsub/local/' } }
  ],
  options: {
    tsPreCompilationDeps: true, tsConfig: { fileName: 'tsconfig.json' }, doNotFollow: { path: 'node_modules' }
  }
}
