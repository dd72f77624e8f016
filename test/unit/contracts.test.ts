import t, { type Test } from 'tap'
import { AssertionError } from 'node:assert'
import { LocalPubSub, RealtimeError, type EventLog, type PubSubProvider } from '../../lib/index.ts'
import { logContract, providerContract, type ContractCase, type LogProvider } from '../../lib/contracts/index.ts'
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
function logging (options: object, change: (log: EventLog) => Partial<EventLog>): LogProvider {
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

t.test('each violation of the provider contract is found', async (t) => {
  const rows: [name: string, change: (pubsub: PubSubProvider) => Partial<PubSubProvider>][] = [
    ['a provider has a name', () => ({ name: '' })],
    ['a message reaches every subscription on every instance once, including its publisher', (pubsub) => ({
      publish: async (...args) => { await pubsub.publish(...args); return await pubsub.publish(...args) }
    })],
    ['a message reaches every subscription on every instance once, including its publisher', (pubsub) => ({
      publish: async (...args) => ({ ...await pubsub.publish(...args), duplicate: true })
    })],
    ['an ephemeral message reaches every subscription on every instance once', (pubsub) => ({
      publish: async (channel, data, options) =>
        options?.ephemeral ? { duplicate: false } : await pubsub.publish(channel, data, options)
    })],
    ['a message has its channel, its data, the time of publishing and its publisher', (pubsub) => ({
      subscribeExact: (channel, handler) =>
        pubsub.subscribeExact(channel, (message) => handler({ ...message, from: '' } as never))
    })],
    ['a message has its channel, its data, the time of publishing and its publisher', (pubsub) => ({
      subscribe: (pattern, handler) =>
        pubsub.subscribe(pattern, (message) => handler({ ...message, channel: pattern } as never))
    })],
    [
      'every kind of JSON value arrives unchanged',
      (pubsub) => ({ publish: (channel, data, options) => pubsub.publish(channel, data || 0, options) })
    ],
    ['messages of one publisher on one channel arrive in order, even if it awaits no publish', (pubsub) => ({
      publish: async (channel, data, options) => {
        if ((data as { n?: number }).n === 500) await new Promise(setImmediate)
        return await pubsub.publish(channel, data, options)
      }
    })],
    [
      'a handler that was unsubscribed gets no more messages, and all others still do',
      (pubsub) => ({
        subscribe: (...args) => {
          pubsub.subscribe(...args)
          return () => {}
        }
      })
    ],
    ['a handler that is unsubscribed while a message is on its way does not get it', (pubsub) => ({
      subscribe: (...args) => {
        const unsubscribe = pubsub.subscribe(...args)
        return () => {
          setImmediate(unsubscribe)
        }
      }
    })],
    ['a handler that is subscribed twice gets each message twice, and once after it was unsubscribed once',
      (pubsub) => {
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
        publish: async (channel, data, options) => {
          for (const handler of handlers) handler({ channel, data } as never)
          return await pubsub.publish(channel, data, options)
        },
        subscribe: (_pattern, handler) => { handlers.add(handler); return () => { handlers.delete(handler) } }
      }
    }],
    [
      'a handler that is not a function is refused',
      (pubsub) => ({
        subscribe: (pattern, handler) => pubsub.subscribe(pattern, (message) => handler(message as never))
      })
    ],
    [
      'no character of a channel has a special meaning',
      (pubsub) => ({ subscribeExact: (channel, handler) => pubsub.subscribe(channel, handler) })
    ],
    [
      'an invalid channel is refused',
      (pubsub) => ({
        subscribeExact: (channel, handler) =>
          pubsub.subscribeExact(
            String(channel || 'none')
              .slice(0, 9)
              .toWellFormed(),
            handler
          )
      })
    ],
    [
      'a pattern matches the same channels as in Redis',
      (pubsub) => ({ subscribe: (pattern, handler) => pubsub.subscribe(pattern.replaceAll('?', '*'), handler) })
    ],
    [
      'a value that is not JSON is refused, and nothing is published',
      (pubsub) => ({ publish: (channel, data, options) => pubsub.publish(channel, data ?? null, options) })
    ],
    ['a payload of 65536 bytes of UTF-8 is published, and a larger one is refused', (pubsub) => ({
      publish: async (channel, data, options) =>
        await pubsub.publish(channel, typeof data === 'string' ? data.slice(0, 65_534) : data, options)
    })],
    [
      'a refused publish whose promise is ignored causes no unhandledRejection',
      (pubsub) => ({ publish: async (...args) => await pubsub.publish(...args) })
    ],
    ['a provider whose subscriptions are active is healthy', () => ({ isHealthy: async () => false })],
    [
      'after close no handler runs, and publishing and subscribing are refused',
      () => ({ isHealthy: async () => true })
    ],
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

t.test('a provider that delivers nothing to its peer fails at once', async (t) => {
  const { setTimeout: wait } = globalThis
  const hurry = (call: () => void, ms: number): NodeJS.Timeout => wait(call, ms / 100)
  globalThis.setTimeout = Object.assign(hurry, wait)
  t.teardown(() => { globalThis.setTimeout = wait })
  const cases = providerContract(() => [plain(), plain()])
  await finds(t, cases, 'every kind of JSON value arrives unchanged', /Not done after 30000 ms/)
})

t.test('each violation of the log contract is found', async (t) => {
  const rows: [name: string, change: (log: EventLog) => Partial<EventLog>][] = [
    ['each event has a position: the epoch, the next offset, and a tag that the next event names', (log) => ({
      read: async (...args) => {
        const page = await log.read(...args)
        return {
          ...page,
          entries: page.entries.map((entry) => ({ ...entry, position: { ...entry.position, previousTag: 1 } }))
        }
      }
    })],
    ['an event is read as it was published', (log) => ({
      read: async (...args) => {
        const page = await log.read(...args)
        return { ...page, entries: page.entries.map((entry) => ({ ...entry, event: 'message' })) }
      }
    })],
    ['channels have logs of their own', (log) => ({ read: (_channel, after, limit) => log.read('a', after, limit) })],
    [
      'a log is read after any of its positions, a page at a time',
      (log) => ({ read: (channel, after) => log.read(channel, after, 1_000) })
    ],
    ['without a position the latest events are read, in their order', (log) => ({
      read: async (...args) => {
        const page = await log.read(...args)
        return { ...page, entries: page.entries.reverse() }
      }
    })],
    [
      'an empty log has a position, and the first event follows it',
      () => ({ heads: async (channels) => channels.map(() => ({ epoch: 'e', offset: 0, tag: 0 })) })
    ],
    [
      'the heads of many logs are read at once',
      (log) => ({ heads: async (channels) => (await log.heads(channels)).reverse() })
    ],
    ['a position from which no reader can continue is a gap with a reason', (log) => ({
      read: async (...args) => ({ ...await log.read(...args), gap: undefined })
    })],
    ['a position before the remaining events is a gap: trimmed', (log) => ({
      read: async (...args) => {
        const page = await log.read(...args)
        return { ...page, gap: page.gap === 'trimmed' ? 'expired' : page.gap }
      }
    })]
  ]
  for (const [name, change] of rows) await finds(t, logContract((options) => logging(options, change)), name)

  const without = (name: string): ContractCase[] =>
    logContract((options) => new LocalPubSub({ ...options, [name]: undefined }))
  await finds(t, without('history'), 'with history off there is no log and no id, and a key has no effect')
  await finds(t, without('maxPayloadBytes'), 'an event that is too large gets no position and does not use up its key')
  const once = logContract((options) => {
    const pubsub = new LocalPubSub(options)
    return Object.assign(
      logging(options, () => ({})),
      { eventLog: pubsub.eventLog, publish: (channel: string, data: unknown) => pubsub.publish(channel, data) }
    )
  })
  for (const name of [
    'concurrent publishes with the same key publish one event',
    'an invalid key is refused, and nothing is published'
  ]) { await finds(t, once, name) }
})
