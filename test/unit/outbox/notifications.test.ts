import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { silentLogger } from '../../../lib/core/logger.ts'
import { Notifications } from '../../../lib/outbox/notifications.ts'

t.test('an app that returns no function listens all the same', async (t) => {
  let notified = 0
  const listen = (async () => undefined) as unknown as () => Promise<() => unknown>
  const notifications = new Notifications(listen, {
    channel: 'c', log: silentLogger, onNotify: () => { notified++ }
  })
  notifications.start()
  await turn()
  t.equal(notifications.isLive, true)
  t.equal(notified, 1, 'rows may have been added before')
  notifications.stop()
  t.equal(notifications.isLive, false)
})

t.test('a connection that opens after the end is closed', async (t) => {
  let opened = (_stop: () => void): void => {}
  const listen = (): Promise<() => unknown> => new Promise((resolve) => { opened = resolve })
  const notifications = new Notifications(listen, { channel: 'c', log: silentLogger, onNotify: () => t.fail() })
  notifications.start()
  await turn()
  notifications.stop()
  await new Promise<void>((resolve) => opened(resolve))
  t.equal(notifications.isLive, false)
})

t.test('an attempt that fails after the end is not repeated', async (t) => {
  let failed = (_error: Error): void => {}
  let calls = 0
  const listen = (): Promise<() => unknown> => new Promise((_resolve, reject) => { calls++; failed = reject })
  const notifications = new Notifications(listen, { channel: 'c', log: silentLogger, onNotify: () => t.fail() })
  notifications.start()
  await turn()
  notifications.stop()
  failed(new Error('late'))
  await turn()
  t.equal(calls, 1)
})
