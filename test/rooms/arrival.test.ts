import t from 'tap'
import type { LogGap } from '../../lib/pubsub/provider.ts'
import { arrive, type Destination } from '../../lib/rooms/arrival.ts'
import { concat } from '../../lib/rooms/control-frames.ts'
import { Backlog } from '../../lib/rooms/backlog.ts'
import type { History } from '../../lib/rooms/history.ts'
import { Stream } from './fixture.ts'

t.test('who rewinds to what is gone by then has missed nothing, and begins with what is left', async (t) => {
  const start = { epoch: 'e', offset: 0, tag: 0 }
  const top = { epoch: 'e', offset: 2, tag: 2 }
  let shared = new Backlog('chat', start)
  const history = {
    shared: async () => ({ run: shared, whole: true }),
    after: async (): Promise<LogGap> => 'trimmed',
    forget () { shared = new Backlog('chat', top) }
  }
  const stream = new Stream(false)
  const room: Destination = {
    chatId: 'chat',
    retryMs: 2_000,
    chatLog: {
      inSync: true,
      isUnproven: false,
      position: top,
      recent: new Backlog('chat', top),
      history: history as unknown as History, // All that is asked of it.
      async whenInSync () {},
      async sync () {}
    },
    attach (connection, frames) { connection.write(concat(frames), frames) }
  }
  await arrive(room, stream.connection.asConnection, { rewind: 1 })
  t.same(stream.names, ['ready'])
  t.same(stream.ids, ['e-2-2'])
})
