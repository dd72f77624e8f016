import t from 'tap'
import type { Connection } from '../../../lib/sse/connection.ts'
import { FakeConnection } from '../../support/fake-connection.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { local } from './local.ts'

t.beforeEach(nothingUnhandled)

t.test('a stream that waited for longer than its chat was followed is ended', async (t) => {
  const { chatEvents } = local(t)
  let ended = 0
  const stream = { closed: false, end: async () => { ended++ } } as unknown as Connection // All that is asked of it.
  const [entrance] = chatEvents.entrances.enter('c')(stream)
  chatEvents.cleanupChatSubscriptions()
  entrance?.join()
  t.equal(ended, 1)
})

t.test('a grant that turns out to be shorter ends the whole stream earlier, of one chat and of several', async (t) => {
  const { chatEvents } = local(t)
  t.teardown(() => chatEvents.cleanupChatSubscriptions())
  const ends: number[] = []
  const connection = new FakeConnection(() => {}).asConnection
  const stream = Object.assign(connection, { endAfter: (ms: number) => { ends.push(ms) } })
  const chats = ['a', 'b'].map((chatId) => ({ chatId, userId: undefined, refused: undefined, refuse () {} }))
  for (const entrance of chatEvents.entrances.enter('c')(stream)) entrance.endAfter(1)
  for (const entrance of chatEvents.entrances.enterAll(chats)(stream)) entrance.endAfter(2)
  t.same(ends, [1, 2, 2])
})
