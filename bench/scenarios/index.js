// @ts-check
import { fanout } from './fanout.js'
import { memory } from './memory.js'

const everyone = ['ours', 'ours without log', 'res.write', '@fastify/sse', 'fastify-sse-v2', 'better-sse', 'socket.io']

/** @type {Record<string, import('../run.js').Scenario>} */
export const scenarios = {
  'fanout-1000': fanout({
    title: 'Fan-out to 1000 connections, one event a tick',
    contenders: everyone,
    targets: { 'res.write': 0.8, '@fastify/sse': 0.6, 'better-sse': 0.6, 'socket.io': 0.7 },
    ticks: 100,
    perChat: 1000
  }),
  'fanout-100': fanout({
    title: 'Fan-out to 100 connections, one event a tick',
    contenders: everyone,
    targets: { 'res.write': 0.75 },
    ticks: 500,
    perChat: 100
  }),
  'fanout-bursts': fanout({
    title: 'Fan-out to 1000 connections, bursts of 10',
    contenders: everyone,
    targets: { 'res.write': 0.5 },
    ticks: 20,
    burst: 10,
    perChat: 1000
  }),
  'many-chats': fanout({
    title: 'Fan-out in 2000 chats of 2 connections, 20 of them a tick',
    contenders: everyone,
    targets: { 'res.write': 0.9 },
    ticks: 1000,
    chats: 2000,
    perTick: 20,
    perChat: 2
  }),
  'idle-memory': memory({
    title: 'Idle memory at 10,000 connections',
    contenders: ['ours', 'res.write', '@fastify/sse', 'better-sse', 'socket.io'],
    targets: { 'res.write': 1.1 },
    connections: 9_500
  })
}
