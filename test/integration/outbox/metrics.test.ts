import t from 'tap'
import { Registry } from 'prom-client'
import type { OutboxStats } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'

t.test('the gauges show the numbers of the outbox, and that they are unknown', async (t) => {
  let answer: () => Promise<OutboxStats> = async () => ({ waiting: 3, oldestSeconds: 1.5, setAside: 2 })
  let asked = 0
  const outbox = {
    startRelay: () => ({ stop: async () => {} }),
    stats: () => { asked++; return answer() }
  }
  const metrics = new Registry()
  await startApp(t, { outbox, metrics })
  const values = async (): Promise<Record<string, string>> => Object.fromEntries(
    [...(await metrics.metrics()).matchAll(/^realtime_outbox_(\w+) (\S+)$/gm)].map(([, name, value]) => [name, value])
  )
  t.same(await values(), { waiting_rows: '3', oldest_seconds: '1.5', set_aside_rows: '2' })
  t.equal(asked, 1, 'once for all of them')
  answer = () => Promise.reject(new Error('secret'))
  t.same(await values(), { waiting_rows: 'Nan', oldest_seconds: 'Nan', set_aside_rows: 'Nan' })
})
