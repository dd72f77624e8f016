import t, { type Test } from 'tap'
import { ControlChannel } from '../../../lib/chat/control-channel.ts'
import { silentLogger, type Logger } from '../../../lib/core/logger.ts'
import { keepLog } from '../../support/log.ts'
import { ModelLog } from '../rooms/model-log.ts'
import { timing } from '../../../lib/core/timing.ts'
import type { FeedListener } from '../../../lib/pubsub/channel-feed.ts'
import type { EventLog, LogPage, LogHead } from '../../../lib/pubsub/event-log.ts'

interface Stage {
  log: ModelLog
  channel: ControlChannel<{ value: number }>
  heard: number[]
  follower: () => FeedListener
  published: unknown[]
  /** How often it was in sync again. */
  synced: () => number
  stop: () => void
  rest: () => Promise<void>
  /** The log is compared with. */
  poll: () => Promise<void>
  publish (value: number, lost?: boolean): void
}

/** A control channel over a log of the test. The test triggers its polls. */
interface StageOptions { withLog?: boolean, logger?: Logger, events?: EventLog, live?: boolean }

function start (t: Test, options: StageOptions = {}): Stage {
  const { withLog = true, logger = silentLogger, events, live = true } = options
  const log = new ModelLog()
  const heard: number[] = []
  const published: unknown[] = []
  const followers: FeedListener[] = []
  const polls = new Set<() => unknown>()
  t.intercept(globalThis, 'setInterval', {
    value: (call: () => unknown) => {
      polls.add(call)
      return { unref: () => call }
    }
  })
  t.intercept(globalThis, 'clearInterval', { value: (call: () => unknown) => { polls.delete(call) } })
  let synced = 0
  const channel = new ControlChannel<{ value: number }>({
    channel: 'revoked',
    log: logger as Logger,
    feed: {
      eventLog: withLog ? events ?? log : undefined,
      publish: async (name, message) => { published.push([name, message]) },
      follow: (_name, follower) => {
        followers.push(follower)
        return () => { followers.splice(followers.indexOf(follower), 1) }
      }
    }
  })
  const stop = channel.watch({ message: ({ value }) => { heard.push(value) }, synced: () => { synced++ } })
  const follower = (): FeedListener => followers[0] as FeedListener
  if (live) follower().live()
  const rest = async (): Promise<void> => { for (let n = 0; n < 5; n++) await new Promise(setImmediate) }
  return {
    log,
    channel,
    heard,
    published,
    follower,
    synced: () => synced,
    stop,
    rest,
    poll: async () => {
      for (const poll of polls) await poll()
      await rest()
    },
    publish: (value, lost = false) => {
      const logged = withLog
        ? log.append({ value })
        : [{ from: 'x', timestamp: 1, event: 'message', json: JSON.stringify({ value }) }]
      if (!lost) for (const one of logged) follower().receive(one, true)
    }
  }
}

t.test('each message arrives once, also one that was published while the subscription was broken', async (t) => {
  const stage = start(t)
  await stage.rest()
  const { continuity } = stage.channel
  t.equal(continuity, 1)
  t.equal(stage.channel.inSync, true)
  stage.publish(1)
  stage.follower().lost()
  t.equal(stage.channel.inSync, false)
  stage.publish(2, true)
  stage.publish(3, true)
  stage.follower().live()
  await stage.rest()
  t.same(stage.heard, [1, 2, 3])
  t.equal(stage.channel.continuity, continuity, 'nothing was missed')
  t.equal(stage.synced(), 2)
})

t.test('any break in the log makes earlier messages unknown', async (t) => {
  const stage = start(t)
  await stage.rest()
  for (const [name, breakIt] of Object.entries({
    'it was trimmed': () => { for (let n = 0; n < 5; n++) stage.publish(n, true); stage.log.trim(2) },
    'it was lost': () => { stage.log.loseMeta() },
    'it fell back': async () => {
      stage.follower().live()
      await stage.rest()
      stage.publish(1)
      stage.publish(2)
      stage.follower().lost()
      stage.log.fallBack(1, false)
      stage.publish(3, true)
    },
    'Redis was replaced': () => { stage.publish(1); stage.log.fallBack(0, true); stage.publish(2, true) }
  })) {
    const { continuity } = stage.channel
    const times = stage.synced()
    stage.follower().lost()
    await breakIt()
    stage.follower().live()
    await stage.rest()
    t.ok(stage.channel.continuity > continuity, name)
    t.equal(stage.channel.inSync, true)
    t.ok(stage.synced() > times)
  }
})

t.test('a failover without an interruption makes earlier messages unknown', async (t) => {
  const stage = start(t)
  await stage.rest()
  const { continuity } = stage.channel
  const times = stage.synced()
  stage.publish(1, true)
  stage.log.fallBack(1, true)
  stage.publish(2)
  t.same(stage.heard, [2])
  t.ok(stage.channel.continuity > continuity)
  t.equal(stage.channel.inSync, true)
  t.equal(stage.synced(), times + 1, 'listeners hear of it')
})

t.test('the loss of the last message before a silence is noticed, and so is the loss of the log', async (t) => {
  const stage = start(t)
  await stage.rest()
  stage.publish(1)
  await stage.poll()
  stage.publish(2, true)
  await stage.poll()
  t.same(stage.heard, [1, 2])
  const { continuity } = stage.channel
  await stage.poll()
  t.equal(stage.channel.continuity, continuity)
  stage.log.loseMeta()
  await stage.poll()
  t.ok(stage.channel.continuity > continuity)
  stage.follower().lost()
  await stage.poll()
  t.equal(stage.channel.inSync, false, 'while the subscription is broken there is nothing to compare')
})

t.test('a message that arrives while the log cannot be read is handled at once', async (t) => {
  const { log: logger, lines } = keepLog()
  let failing = true
  const log = new ModelLog()
  const events: EventLog = {
    read: async (name, after, limit): Promise<LogPage> => {
      if (failing) throw new Error('away')
      return await log.read(name, after, limit)
    },
    heads: async (): Promise<(LogHead | undefined)[]> => { throw new Error('away') }
  }
  const stage = start(t, { events, logger })
  t.intercept(timing, 'resyncRetry', { value: 1 })
  await stage.rest()
  for (const logged of log.append({ value: 1 })) stage.follower().receive(logged, true)
  t.same(stage.heard, [1])
  t.equal(stage.channel.continuity, 0)
  const started = stage.channel.whenStarted()
  while (lines.length < 1) await stage.rest()
  stage.follower().live()
  await stage.rest()
  failing = false
  while (!stage.channel.inSync) await stage.rest()
  await started
  t.match(
    lines,
    [{ channel: 'revoked', reason: 'away' }, { count: Number }],
    'an outage is two lines: its begin and its end'
  )
  t.equal(stage.channel.whenStarted(), undefined)
  t.same(stage.heard, [1, 1], 'it arrives again in its order')
  await stage.poll()
  await stage.poll()
  t.equal(stage.channel.inSync, true, 'a comparison that fails proves nothing')
})

t.test('without a log, each interruption makes earlier messages unknown', async (t) => {
  const stage = start(t, { withLog: false })
  t.equal(stage.channel.continuity, 1)
  stage.publish(1)
  stage.follower().lost()
  t.equal(stage.channel.inSync, false)
  stage.follower().live()
  t.equal(stage.channel.continuity, 2)
  t.equal(stage.channel.inSync, true)
  t.same(stage.heard, [1])
})

t.test('without a log, a subscription that is confirmed twice interrupts nothing', async (t) => {
  const stage = start(t, { withLog: false })
  const { continuity } = stage.channel
  stage.follower().live()
  t.equal(stage.channel.continuity, continuity)
  t.ok(stage.channel.inSync)
})

t.test('a message without a position is handled when it arrives', async (t) => {
  const stage = start(t)
  await stage.rest()
  stage.follower().receive({ from: 'x', timestamp: 1, event: 'message', json: '{"value":7}' }, true)
  t.same(stage.heard, [7])
  t.equal(stage.channel.inSync, true)
})

t.test('a published message is handled on this instance at once, and is sent to the others', async (t) => {
  const stage = start(t)
  await stage.channel.publish({ value: 1 })
  t.same(stage.heard, [1])
  t.same(stage.published, [['revoked', { value: 1 }]])
})

t.test('the channel closes with its last listener, and opens again with the next one', async (t) => {
  const stage = start(t)
  await stage.rest()
  const unsubscribe = stage.channel.watch({ message: () => {} })
  stage.stop()
  t.equal(stage.channel.inSync, true)
  unsubscribe()
  t.equal(stage.channel.inSync, false)
  t.equal(stage.follower(), undefined)
  stage.channel.close()
  stage.channel.watch({ message: () => {} })
  stage.follower().live()
  await stage.rest()
  t.equal(stage.channel.inSync, true)
  t.equal(stage.channel.continuity, 2, 'what was published between is unknown')
})
