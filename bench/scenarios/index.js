// @ts-check
import { nchanIsMissing } from '../nchan.js'
import { across } from './across.js'
import { activeChats } from './active-chats.js'
import { answers } from './answers.js'
import { clusterOf } from './cluster.js'
import { fanout } from './fanout.js'
import { largeEvents } from './large-events.js'
import { latency } from './latency.js'
import { memory } from './memory.js'
import { open } from './open.js'
import { backlog, keyMemory, rowLatency, rows } from './outbox.js'
import { flooding, opening, publishing } from './publishing.js'
import { resume } from './resume.js'
import { rewind } from './rewind.js'
import { stalled } from './stalled.js'
import { storm } from './storm.js'

const everyone = ['ours', 'ours without log', 'res.write', '@fastify/sse', 'fastify-sse-v2', 'better-sse', 'socket.io']
const common = ['ours', 'res.write', '@fastify/sse', 'better-sse', 'socket.io']

/** @type {Record<string, import('../run.js').Scenario>} */
export const scenarios = {
  'fanout-1000': fanout({
    title: 'Fan-out to 1000 connections, one event a tick',
    contenders: everyone,
    targets: { 'res.write': 0.8, '@fastify/sse': 0.6, 'better-sse': 0.6, 'socket.io': 0.7 },
    ticks: 25,
    perChat: 1000
  }),
  'fanout-100': fanout({
    title: 'Fan-out to 100 connections, one event a tick',
    contenders: everyone,
    targets: { 'res.write': 0.75 },
    ticks: 250,
    perChat: 100
  }),
  'fanout-bursts': fanout({
    title: 'Fan-out to 1000 connections, bursts of 10',
    contenders: everyone,
    targets: { 'res.write': 0.5 },
    ticks: 10,
    burst: 10,
    perChat: 1000
  }),
  'nchan-1000': fanout({
    title: 'Fan-out to 1000 connections, published by POST',
    contenders: ['ours', 'nchan'],
    targets: { nchan: 1.1 },
    ticks: 25,
    perChat: 1000,
    byPost: true,
    missing: nchanIsMissing
  }),
  'nchan-5000': fanout({
    title: 'Fan-out to 5000 connections, published by POST',
    contenders: ['ours', 'nchan'],
    targets: { nchan: 1.1 },
    ticks: 10,
    perChat: 5000,
    byPost: true,
    missing: nchanIsMissing
  }),
  latency: latency({
    title: 'Latency at 20 events a second to 1000 connections',
    contenders: common,
    targets: { 'res.write': 0.8 },
    perSecond: 20,
    seconds: 1,
    perChat: 1000
  }),
  'many-chats': fanout({
    title: 'Fan-out in 2000 chats of 2 connections, 20 of them a tick',
    contenders: everyone,
    targets: { 'res.write': 0.9 },
    ticks: 250,
    chats: 2000,
    perTick: 20,
    perChat: 2
  }),
  'two-instances': across({
    title: 'Delivery of what another instance publishes through Redis, to 1000 connections',
    contenders: ['ours', 'socket.io with redis-adapter', 'socket.io with redis-streams-adapter'],
    targets: { 'socket.io with redis-adapter': 0.65, 'socket.io with redis-streams-adapter': 0.65 },
    ticks: 20,
    everyMs: 40,
    perChat: 1000
  }),
  ...clusterOf({
    title: 'Two workers of node:cluster instead of one process, for 1000 connections',
    units: {
      'cluster-node': 'µs of CPU of all processes of Node per delivery',
      'cluster-redis': 'µs of CPU of Redis per delivery'
    },
    target: 1.15,
    ticks: 40,
    everyMs: 40,
    perChat: 1000
  }),
  ...flooding('Durable publishes to one chat, 256 in flight', {
    count: 25_000,
    chats: 1,
    targets: { 'publish-rate': { 'autopipelined PUBLISH': 0.85 } },
    limits: { 'publish-redis': { ours: 9 } }
  }, {
    'publish-rate': 'publishes a second',
    'publish-node': 'µs of CPU of Node per publish',
    'publish-redis': 'µs of CPU of Redis per publish'
  }),
  ...flooding('Durable publishes to 1000 chats, 256 in flight', {
    count: 25_000,
    chats: 1_000,
    targets: { 'publishes-rate': { 'autopipelined PUBLISH': 0.7 } },
    limits: { 'publishes-redis': { ours: 13 } }
  }, {
    'publishes-rate': 'publishes a second',
    'publishes-node': 'µs of CPU of Node per publish',
    'publishes-redis': 'µs of CPU of Redis per publish'
  }),
  ...opening({
    title: 'Opening 10,000 chats through Redis',
    chats: 10_000,
    limits: { 'chats-node': { ours: 70 } }
  }, {
    'chats-node': 'µs of CPU of Node per chat',
    'chats-redis': 'µs of CPU of Redis per chat'
  }),
  'publish-latency': publishing({
    title: 'A durable publish, one in flight',
    unit: 'µs from call to receipt, median',
    contenders: ['ours', 'plain EVALSHA'],
    targets: { 'plain EVALSHA': 1.1 },
    count: 7_500,
    measure: (server, count) => server('call', 'oneByOne', count)
  }),
  'idle-memory': memory({
    title: 'Idle memory at 10,000 connections',
    cases: Object.fromEntries(common.map((contender) => [contender, { contender }])),
    targets: { 'res.write': 1.1 },
    connections: 9_500
  }),
  'room-memory': memory({
    title: 'Idle memory at 5,000 connections, in one chat or in a chat each',
    subject: 'a chat each',
    cases: { 'a chat each': { contender: 'ours', chatEach: true }, 'one chat': { contender: 'ours' } },
    targets: {},
    connections: 5_000
  }),
  open: open({
    title: 'Opening 10,000 streams in 100 chats, 50 at a time',
    cases: {
      ours: { contender: 'ours with authorize' },
      'ours through Redis': { contender: 'ours with authorize', throughRedis: true },
      'res.write': { contender: 'res.write with a first event' },
      '@fastify/sse': { contender: '@fastify/sse' }
    },
    targets: { 'res.write': 1.5 },
    chats: 100,
    perChat: 100,
    opening: 50
  }),
  resume: resume({
    title: '2000 clients resume 100 events behind in 20 chats, 50 at a time',
    cases: {
      'in one process': {},
      'through Redis': { throughRedis: true },
      'through Redis, on another instance': { throughRedis: true, elsewhere: true }
    },
    limits: { 'in one process': 350, 'through Redis': 350, 'through Redis, on another instance': 350 },
    chats: 20,
    perChat: 100,
    behind: 100,
    opening: 50
  }),
  stalled: stalled({
    title: '50 of 100 clients read nothing, at 2000 events a second',
    contenders: ['ours', 'res.write', 'better-sse', 'socket.io'],
    targets: { 'res.write': 0.15 },
    seconds: 15,
    perChat: 100,
    stalled: 50
  }),
  storm: storm({
    title: '2000 clients resume 100 events behind, in 20 chats',
    chats: 20,
    perChat: 100,
    behind: 100,
    reads: 3
  }),
  'rewind-1': rewind({
    title: 'Publishing during a rewind: a client that rewinds 1000 events of 16 kB in each of 50 chats',
    chats: 50,
    events: 1_000,
    bytes: 16_000,
    clients: 1,
    seconds: 5
  }),
  'rewind-5': rewind({
    title: 'Publishing during a rewind: 5 clients that rewind 1000 events of 16 kB in each of 50 chats',
    chats: 50,
    events: 1_000,
    bytes: 16_000,
    clients: 5,
    seconds: 5
  }),
  'rewind-small': rewind({
    title: 'Publishing during a rewind: 5 clients that rewind 1000 events of 500 bytes in each of 50 chats',
    chats: 50,
    events: 1_000,
    bytes: 500,
    clients: 5,
    seconds: 2.5
  }),
  'large-events': largeEvents({
    title: 'One client of 50 chats, after 300 events of 60 kB in each',
    chats: 50,
    events: 300,
    bytes: 60_000
  }),
  'active-chats': activeChats({
    title: 'Publishing while many chats are listened to, through Redis',
    chats: [10, 1_000, 50_000],
    limit: 1.25,
    count: 10_000,
    throughRedis: true
  }),
  'active-chats-local': activeChats({
    title: 'Publishing while many chats are listened to, in one process',
    chats: [10, 1_000, 50_000],
    limit: 1.25,
    count: 10_000,
    throughRedis: false
  }),
  ...answers('An answer of 2.5 MB, with a reader on each instance', {
    count: 1, ticks: 2_000, perTick: 23, everyMs: 5, apart: true
  }, {
    'answer-node': 'ms of CPU of both instances per MB',
    'answer-redis': 'ms of CPU of Redis per MB',
    'answer-node-piece': 'µs of CPU of both instances per piece',
    'answer-redis-piece': 'µs of CPU of Redis per piece',
    'answer-memory': 'MB on the instance that produces it',
    'answer-redis-memory': 'MB in Redis',
    'answer-late': 'ms until a late reader has it',
    'answer-late-node': 'ms of CPU of both instances per MB of a late reader',
    'answer-late-redis': 'ms of CPU of Redis per MB of a late reader'
  }),
  ...answers('An answer of 1.25 MB, with one reader on the instance that produces it', {
    count: 1, ticks: 1_000, perTick: 23, everyMs: 5, apart: false
  }, {
    'alone-node': 'ms of CPU of both instances per MB',
    'alone-redis': 'ms of CPU of Redis per MB'
  }),
  ...answers('50 answers at 50 tokens a second, with a reader on each instance', {
    count: 50, ticks: 250, perTick: 1, everyMs: 20, apart: true
  }, {
    'answers-node': 'ms of CPU of both instances per MB',
    'answers-redis': 'ms of CPU of Redis per MB',
    'answers-node-piece': 'µs of CPU of both instances per piece',
    'answers-redis-piece': 'µs of CPU of Redis per piece'
  }),
  ...rows('Transactions with an event of 200 bytes each, on 16 connections', {
    count: 3_000, chats: 96, bytes: 200
  }, {
    'rows-rate': 'rows a second, until published',
    'rows-database': 'µs of CPU of PostgreSQL per row',
    'rows-node': 'µs of CPU of Node per row',
    'rows-redis': 'µs of CPU of Redis per row'
  }),
  ...rows('Transactions with an event of 7,999 bytes each, on 16 connections', {
    count: 2_000, chats: 96, bytes: 7_999
  }, {
    'rows8-rate': 'rows a second, until published',
    'rows8-database': 'µs of CPU of PostgreSQL per row',
    'rows8-node': 'µs of CPU of Node per row',
    'rows8-redis': 'µs of CPU of Redis per row'
  }),
  ...backlog('Publishing rows that were committed before, of 200 bytes in 96 chats', {
    count: 5_000, chats: 96, bytes: 200
  }, {
    'backlog-rate': 'rows or publishes a second',
    'backlog-database': 'µs of CPU of PostgreSQL per row',
    'backlog-node': 'µs of CPU of Node per row or publish'
  }),
  ...rowLatency('From BEGIN to a client, at 100 transactions a second in 20 chats', {
    perSecond: 100, seconds: 5, chats: 20, limit: 100
  }, {
    'row-p50': 'ms, median',
    'row-p99': 'ms, 99th percentile'
  }),
  'row-memory': keyMemory('Memory of the key of a row', { count: 2_500, chats: 96, bytes: 200 })
}

// The sockets, and a few more files.
for (const scenario of [scenarios['idle-memory'], scenarios['nchan-5000']]) {
  Object.assign(scenario ?? {}, { files: 11_000 })
}
