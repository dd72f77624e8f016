import t from 'tap'
import { LocalPubSub, type EventLog } from '../../../lib/index.ts'
import { findEntry } from '../../../lib/pubsub/find-entry.ts'

/** A log with some events, and their ids. */
async function logOf (count: number): Promise<{ log: EventLog, ids: string[], publish: () => Promise<unknown> }> {
  const pubsub = new LocalPubSub({ history: { size: 50 } })
  t.teardown(() => pubsub.close())
  const ids: string[] = []
  const publish = async (): Promise<unknown> => ids.push((await pubsub.publish('c', ids.length)).id as string)
  while (ids.length < count) await publish()
  return { log: pubsub.eventLog as EventLog, ids, publish }
}

t.test('the entry of each id is found, as long as the log has it', async (t) => {
  const { log, ids } = await logOf(60)
  const found = await Promise.all(ids.map((id) => findEntry(log, 'c', id)))
  t.same(found.map((entry) => entry?.json), ids.map((_id, n) => n < 10 ? undefined : String(n)))
})

t.test('an id that this log never had is not found', async (t) => {
  const { log, ids: [id = ''] } = await logOf(1)
  for (const other of ['x', `other-${id.split('-')[1]}-1`, `${id.slice(0, -1)}${id.endsWith('1') ? 2 : 1}`, `${id}0`]) {
    t.equal(await findEntry(log, 'c', other), undefined, other)
  }
  t.equal(await findEntry(log, 'd', id), undefined)
})

t.test('events that arrive meanwhile do not hide the entry, unless they are many', async (t) => {
  const { log, ids, publish } = await logOf(5)
  const busy = (events: number): EventLog => ({
    heads: async (channels) => {
      const heads = (await log.heads(channels)).map((head) => head && { ...head })
      for (let n = 0; n < events; n++) await publish()
      return heads
    },
    read: (...args) => log.read(...args)
  })
  const id = ids[2] as string
  t.match(await findEntry(busy(4), 'c', id), { json: '2' })
  t.equal(await findEntry(busy(9), 'c', id), undefined)
})

t.test('a log that cannot count bytes returns the entry at once', async (t) => {
  const { log, ids } = await logOf(5)
  let reads = 0
  const plain: EventLog = {
    heads: (channels) => log.heads(channels),
    read: async (channel, after, limit) => {
      reads++
      return { ...await log.read(channel, after, limit), start: undefined }
    }
  }
  t.match(await findEntry(plain, 'c', ids[2] as string), { json: '2' })
  t.equal(reads, 1)
})
