import t from 'tap'
import Fastify from 'fastify'
import realtimePlugin, { type PubSubProvider, type RealtimeOptions } from '../../../lib/index.ts'
import { resolveOptions } from '../../../lib/options.ts'
import { startApp } from '../../support/app.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { authorize } from './sides.ts'

t.beforeEach(nothingUnhandled)

t.test('presence requires a state, and reports this before anything is opened', async (t) => {
  const stateless: PubSubProvider = {
    name: 'own',
    publish: async () => ({ duplicate: false }),
    subscribe: () => () => {},
    subscribeExact: () => () => {},
    isHealthy: async () => true,
    close: async () => {}
  }
  for (const options of [{ history: false }, { pubsub: stateless }] as RealtimeOptions[]) {
    await t.rejects(async () => await Fastify().register(realtimePlugin, { ...options, authorize, presence: true }), {
      code: 'RT_STATE_UNAVAILABLE', statusCode: 501
    })
    const { app } = await startApp(t, options)
    await t.rejects(app.chatEvents.presence('c'), { code: 'RT_STATE_UNAVAILABLE' })
  }
  const { app } = await startApp(t)
  await t.rejects(app.chatEvents.presence(''), { code: 'RT_CHAT_ID_INVALID' })
})

t.test('the option has defaults', async (t) => {
  t.equal(resolveOptions({}).presence, false)
  const defaults = { graceMs: 10_000, leaseMs: 15_000 }
  t.same(resolveOptions({ presence: true, authorize }).presence, defaults)
  t.same(resolveOptions({ presence: { leaseMs: 100 }, authorize }).presence, { graceMs: 10_000, leaseMs: 100 })
  t.same(resolveOptions({ presence: { graceMs: 0 }, authorize }).presence, { graceMs: 0, leaseMs: 15_000 })
})
