import t from 'tap'
import { until } from '../../support/until.ts'
import { becomeBrowser, locksHere, start, Tab } from './tab.ts'
import { Database, StateReader } from './state-reader.ts'

t.setTimeout(60_000)

t.test('a tab takes over while it loads, and another one follows it: both have every event once', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const database = new Database(app)
  await database.write(1, 'before all')
  const tabs = [new Tab(t, url), new Tab(t, url), new Tab(t, url)] as const
  const readers = tabs.map(({ client }) => new StateReader(client, database))
  const [first, ...others] = readers as [StateReader, StateReader, StateReader]
  await Promise.all(readers.map((reader) => reader.loads()))
  first.release()
  await first.has(1)
  await database.write(2, 'from the first leader')
  await first.sees(2)

  tabs[0].client.close()
  await database.write(3, 'while no tab leads')
  const late = new StateReader(tabs[2].client, database)
  await late.loads()
  await database.write(1, 'edited by the second leader')
  for (const reader of [...others, late]) reader.release()
  await database.write(4, 'after the rows were read')
  for (const reader of [...others, late]) {
    await reader.sees(4)
    t.same([...reader.rows].sort(), [...database.rows])
    t.same([reader.calls, reader.resets], [1, []])
  }
  t.same(others.map(({ seen }) => seen), [[2, 3, 1, 4], [2, 3, 1, 4]])
})

t.test('a leader that is replaced while it loads has every event once', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const database = new Database(app)
  const tabs = [new Tab(t, url), new Tab(t, url)] as const
  const readers = tabs.map(({ client }) => new StateReader(client, database))
  await Promise.all(readers.map((reader) => reader.loads()))
  await database.write(1, 'from the first leader')
  // The second tab is the next one in the queue of the lock that is stolen from the first.
  await locksHere().request(`fastify-realtime ${url}/api ada`, { steal: true }, async () => {
    await database.write(2, 'while no tab leads')
  })
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 1)
  const late = new StateReader(tabs[0].client, database)
  await late.loads()
  await database.write(3, 'from the second leader')
  for (const reader of [...readers, late]) reader.release()
  for (const reader of [...readers, late]) {
    await reader.sees(3)
    t.same([...reader.rows], [...database.rows])
    t.same([reader.calls, reader.resets], [1, []])
  }
  await database.write(4, 'after all')
  await Promise.all([...readers, late].map((reader) => reader.sees(4)))
  t.same(readers.map(({ seen }) => seen), [[1, 2, 3, 4], [1, 2, 3, 4]])
})
