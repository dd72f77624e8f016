import t, { type Test } from 'tap'
import { positionBefore, type Cursor } from '../../../lib/pubsub/cursor.ts'
import { LocalPubSub, RedisPubSub, type EventLog, type PubSubProvider } from '../../../lib/index.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { client } from '../../support/redis.ts'
import { budgets } from '../../../lib/core/budgets.ts'

const server = await RedisServer.start()
t.teardown(() => server.stop())

const KB = 1_024

const makers: Record<string, () => PubSubProvider & { eventLog: EventLog | undefined }> = {
  RedisPubSub: () => new RedisPubSub({ url: server.url }),
  LocalPubSub: () => new LocalPubSub()
}

/** Publishes events of so many kB. Returns the log and its start. */
async function publish (
  t: Test, name: string, channel: string, sizes: number[]
): Promise<{ log: EventLog, start: Cursor }> {
  const provider = (makers[name] as () => PubSubProvider & { eventLog: EventLog })()
  t.teardown(() => provider.close())
  const { head: start } = await provider.eventLog.read(channel, undefined, 1)
  for (const size of sizes) await provider.publish(channel, 'x'.repeat(size * KB))
  return { log: provider.eventLog, start }
}

/** How many kB each event of a page has. */
function sizesOf ({ entries }: { entries: { json: string }[] }): number[] {
  return entries.map(({ json }) => Math.floor(json.length / KB))
}

for (const name of Object.keys(makers)) {
  t.test(`a page of ${name} ends before it is too large, but has at least one event`, async (t) => {
    const { log, start } = await publish(t, name, 'sizes', [60, 60, 60, 60, 60, 1, 1])
    t.same(sizesOf(await log.read('sizes', start, 1_000)), [60, 60, 60, 60])
    t.same(sizesOf(await log.read('sizes', start, 1_000, 130 * KB)), [60, 60])
    t.same(sizesOf(await log.read('sizes', start, 1, 130 * KB)), [60])
    t.same(sizesOf(await log.read('sizes', start, 1_000, 1)), [60])
    t.same(sizesOf(await log.read('sizes', undefined, 1_000, 70 * KB)), [60, 1, 1])
    t.same(sizesOf(await log.read('sizes', undefined, 1_000, 1)), [1])
    t.same(sizesOf(await log.read('sizes', undefined, 2, 100 * KB)), [1, 1])
    t.same(sizesOf(await log.read('sizes', undefined, 1_000, 0)), [])
  })

  t.test(`small events of ${name} before and after large ones make pages of limited size`, async (t) => {
    const sizes = [...Array<number>(40).fill(0), ...Array<number>(10).fill(40), ...Array<number>(40).fill(0)]
    const { log, start } = await publish(t, name, 'mixed', sizes)
    const got: number[] = []
    for (let at = start; at.offset < sizes.length;) {
      const page = await log.read('mixed', at, 1_000, 100 * KB)
      t.ok(page.entries.reduce((sum, { json }) => sum + json.length, 0) <= 100 * KB)
      got.push(...sizesOf(page))
      at = page.entries.at(-1)?.position as Cursor
    }
    t.same(got, sizes)
    const last = await log.read('mixed', undefined, 1_000, 100 * KB)
    t.same(sizesOf(last), sizes.slice(-42))
    t.match(last.start, start)
  })

  t.test(`a position that ${name} can't follow is reported, even if a page has one event`, async (t) => {
    const { log, start } = await publish(t, name, 'gaps', [1, 1])
    const { entries: [first] } = await log.read('gaps', start, 1, 1)
    t.match(positionBefore(first?.position as Cursor & { previousTag: number }), start)
    t.match(await log.read('gaps', { ...start, tag: 1 }, 10, 1), { gap: 'diverged', entries: [] })
  })
}

t.test('Redis reads little more for a page than it sends', async (t) => {
  const { log, start } = await publish(t, 'RedisPubSub', 'much', Array(200).fill(60))
  const admin = client(t, server.url)
  const used = async (): Promise<number> => Number(/used_memory_peak:(\d+)/.exec(await admin.info('memory'))?.[1])
  const before = await used()
  t.equal((await log.read('much', start, 1_000)).entries.length, Math.floor(budgets.page / (60 * KB)))
  t.equal((await log.read('much', undefined, 1_000)).entries.length, Math.floor(budgets.page / (60 * KB)))
  t.ok(await used() - before < 4_000_000, 'and not the 12 MB that there are')
})

t.test('foreign entries in a log do not stop reading', async (t) => {
  const { log, start } = await publish(t, 'RedisPubSub', 'foreign', [1])
  const admin = client(t, server.url)
  await admin.xadd('rt:{foreign}:s', '5-1', 'x', '')
  t.same(sizesOf(await log.read('foreign', start, 1_000)), [1])
  await admin.del('rt:{foreign}:s')
  await admin.xadd('rt:{foreign}:s', '0-1', 'x', '')
  t.same(sizesOf(await log.read('foreign', undefined, 1_000)), [])
})
