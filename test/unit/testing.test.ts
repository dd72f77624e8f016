import t, { type Test } from 'tap'
import { AssertionError } from 'node:assert'
import { LocalPubSub, RealtimeError, type EventLog, type PubSubProvider } from '../../lib/index.ts'
import { logContract, providerContract, type ContractCase, type Keeper } from '../../lib/testing/index.ts'
import { keeps } from '../support/contract.ts'

/** A provider of the five methods only, with some of them replaced. */
function plain (change: (pubsub: PubSubProvider) => Partial<PubSubProvider> = () => ({})): PubSubProvider {
  const pubsub = new LocalPubSub()
  return {
    name: 'plain',
    publish: (channel, data, options) => pubsub.publish(channel, data, options),
    subscribe: (pattern, handler) => pubsub.subscribe(pattern, handler),
    subscribeExact: (channel, handler) => pubsub.subscribeExact(channel, handler),
    isHealthy: () => pubsub.isHealthy(),
    close: () => pubsub.close(),
    ...change(pubsub)
  }
}

/** The same as `LocalPubSub`, with some of its log replaced. */
function logging (options: object, change: (log: EventLog) => Partial<EventLog>): Keeper {
  const pubsub = new LocalPubSub(options)
  const { instanceId } = pubsub
  const log = pubsub.eventLog as EventLog
  return {
    ...plain(),
    instanceId,
    publish: (...args) => pubsub.publish(...args),
    subscribeExact: (...args) => pubsub.subscribeExact(...args),
    follow: (...args) => pubsub.follow(...args),
    close: () => pubsub.close(),
    eventLog: { read: (...args) => log.read(...args), heads: (channels) => log.heads(channels), ...change(log) }
  }
}

async function finds (t: Test, cases: ContractCase[], name: string, error: unknown = AssertionError): Promise<void> {
  const found = cases.find((given) => given.name === name)
  if (found === undefined) throw new Error(`There is no case "${name}"`)
  await t.rejects(found.run(), error as Error, name)
}

keeps(t, 'a provider of the five methods', providerContract(() => plain()))

t.test('what breaks the contract of a provider is found', async (t) => {
  const rows: [name: string, change: (pubsub: PubSubProvider) => Partial<PubSubProvider>][] = [
    ['a provider has a name', () => ({ name: '' })],
    ['a message reaches every subscription on every instance once, the publisher\'s too', (pubsub) => ({
      publish: async (...args) => { await pubsub.publish(...args); return await pubsub.publish(...args) }
    })],
    ['a message reaches every subscription on every instance once, the publisher\'s too', (pubsub) => ({
      publish: async (...args) => ({ ...await pubsub.publish(...args), duplicate: true })
    })],
    ['an ephemeral message reaches every subscription on every instance once', (pubsub) => ({
      publish: async (channel, data, options) => options?.ephemeral ? { duplicate: false } : await pubsub.publish(channel, data, options)
    })],
    ['a message tells its channel, its data, when it was published and by whom', (pubsub) => ({
      subscribeExact: (channel, handler) => pubsub.subscribeExact(channel, (message) => handler({ ...message, from: '' } as never))
    })],
    ['a message tells its channel, its data, when it was published and by whom', (pubsub) => ({
      subscribe: (pattern, handler) => pubsub.subscribe(pattern, (message) => handler({ ...message, channel: pattern } as never))
    })],
    ['every kind of value that JSON can carry arrives as it was', (pubsub) => ({ publish: (channel, data, options) => pubsub.publish(channel, data || 0, options) })],
    ['messages of one publisher on one channel arrive in the order of publishing, though nobody awaits in between', (pubsub) => ({
      publish: async (channel, data, options) => {
        if ((data as { n?: number }).n === 500) await new Promise(setImmediate)
        return await pubsub.publish(channel, data, options)
      }
    })],
    ['a subscription that was undone gets nothing more, and all others go on', (pubsub) => ({ subscribe: (...args) => { pubsub.subscribe(...args); return () => {} } })],
    ['a subscription that is undone while a message is under way does not get it', (pubsub) => ({
      subscribe: (...args) => { const unsubscribe = pubsub.subscribe(...args); return () => { setImmediate(unsubscribe) } }
    })],
    ['a handler that is subscribed twice gets a message twice, and once after one undo', (pubsub) => {
      const undone = new Map<unknown, () => void>()
      return {
        subscribe: (pattern, handler) => {
          undone.get(handler)?.()
          undone.set(handler, pubsub.subscribe(pattern, handler))
          return () => undone.get(handler)?.()
        }
      }
    }],
    ['no handler runs inside publish', (pubsub) => {
      const handlers = new Set<(message: never) => unknown>()
      return {
        publish: async (channel, data, options) => { for (const handler of handlers) handler({ channel, data } as never); return await pubsub.publish(channel, data, options) },
        subscribe: (_pattern, handler) => { handlers.add(handler); return () => { handlers.delete(handler) } }
      }
    }],
    ['what is no function is refused as a handler', (pubsub) => ({ subscribe: (pattern, handler) => pubsub.subscribe(pattern, (message) => handler(message as never)) })],
    ['every character is just a character of a channel', (pubsub) => ({ subscribeExact: (channel, handler) => pubsub.subscribe(channel, handler) })],
    ['what is no channel is refused', (pubsub) => ({ subscribeExact: (channel, handler) => pubsub.subscribeExact(String(channel || 'none').slice(0, 9).toWellFormed(), handler) })],
    ['a pattern matches the same channels on every provider: those of Redis', (pubsub) => ({ subscribe: (pattern, handler) => pubsub.subscribe(pattern.replaceAll('?', '*'), handler) })],
    ['what JSON can not carry is refused, and nothing is published', (pubsub) => ({ publish: (channel, data, options) => pubsub.publish(channel, data ?? null, options) })],
    ['a payload of 65536 bytes of UTF-8 goes through, one of more is refused and not published', (pubsub) => ({
      publish: async (channel, data, options) => await pubsub.publish(channel, typeof data === 'string' ? data.slice(0, 65_534) : data, options)
    })],
    ['a refused publish that nobody looks at causes no unhandledRejection', (pubsub) => ({ publish: async (...args) => await pubsub.publish(...args) })],
    ['a provider whose subscriptions hold is healthy', () => ({ isHealthy: async () => false })],
    ['after close no handler runs, and publishing and subscribing are refused', () => ({ isHealthy: async () => true })],
    ['after close no handler runs, and publishing and subscribing are refused', (pubsub) => {
      let closed = false
      const open = <R>(call: () => R): R => {
        if (closed) throw new RealtimeError('RT_CLOSED', 'This')
        return call()
      }
      return {
        publish: async (...args) => await open(() => pubsub.publish(...args)),
        subscribe: (...args) => open(() => pubsub.subscribe(...args)),
        subscribeExact: (...args) => open(() => pubsub.subscribeExact(...args)),
        isHealthy: async () => !closed,
        close: async () => { closed = true }
      }
    }]
  ]
  for (const [name, change] of rows) await finds(t, providerContract(() => plain(change)), name)
})

t.test('a provider that delivers nothing to its peer is found, not waited for', async (t) => {
  const { setTimeout: wait } = globalThis
  const hurry = (call: () => void, ms: number): NodeJS.Timeout => wait(call, ms / 100)
  globalThis.setTimeout = Object.assign(hurry, wait)
  t.teardown(() => { globalThis.setTimeout = wait })
  const cases = providerContract(() => [plain(), plain()])
  await finds(t, cases, 'every kind of value that JSON can carry arrives as it was', /Not done after 30000 ms/)
})

t.test('what breaks the contract of a log is found', async (t) => {
  const rows: [name: string, change: (log: EventLog) => Partial<EventLog>][] = [
    ['each event has a place: one epoch, offsets without a hole, a tag that the next one names', (log) => ({
      read: async (...args) => {
        const page = await log.read(...args)
        return { ...page, entries: page.entries.map((entry) => ({ ...entry, position: { ...entry.position, previousTag: 1 } })) }
      }
    })],
    ['an event is read as it was published', (log) => ({
      read: async (...args) => {
        const page = await log.read(...args)
        return { ...page, entries: page.entries.map((entry) => ({ ...entry, event: 'message' })) }
      }
    })],
    ['channels have logs of their own', (log) => ({ read: (_channel, after, limit) => log.read('a', after, limit) })],
    ['a log is read from any of its places, a page at a time', (log) => ({ read: (channel, after) => log.read(channel, after, 1_000) })],
    ['without a place the last events are read, in their order', (log) => ({
      read: async (...args) => {
        const page = await log.read(...args)
        return { ...page, entries: page.entries.reverse() }
      }
    })],
    ['who reads an empty log gets a place that the first event follows', () => ({ heads: async (channels) => channels.map(() => ({ epoch: 'e', offset: 0, tag: 0 })) })],
    ['the ends of many logs are told at once', (log) => ({ heads: async (channels) => (await log.heads(channels)).reverse() })],
    ['a place that can\'t be followed is told with its reason', (log) => ({
      read: async (...args) => ({ ...await log.read(...args), gap: undefined })
    })],
    ['a place before the events that are left is told as trimmed', (log) => ({
      read: async (...args) => {
        const page = await log.read(...args)
        return { ...page, gap: page.gap === 'trimmed' ? 'expired' : page.gap }
      }
    })]
  ]
  for (const [name, change] of rows) await finds(t, logContract((options) => logging(options, change)), name)

  const without = (name: string): ContractCase[] => logContract((options) => new LocalPubSub({ ...options, [name]: undefined }))
  await finds(t, without('history'), 'with history off there is no log, no id, and a key is without effect')
  await finds(t, without('maxPayloadBytes'), 'what is too large gets no place and uses up no key')
  const once = logContract((options) => {
    const pubsub = new LocalPubSub(options)
    return Object.assign(logging(options, () => ({})), { eventLog: pubsub.eventLog, publish: (channel: string, data: unknown) => pubsub.publish(channel, data) })
  })
  for (const name of ['two that race with one key are published once', 'what is no key is refused, and nothing is published']) await finds(t, once, name)
})
