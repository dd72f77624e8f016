import t from 'tap'
import { catchUp, type CatchUpTarget } from '../../../lib/rooms/catch-up.ts'
import { concat } from '../../../lib/rooms/frames.ts'
import { EventRing } from '../../../lib/pubsub/event-ring.ts'
import type { Cursor } from '../../../lib/pubsub/cursor.ts'
import { ReplayBuffer } from '../../../lib/rooms/replay-buffer.ts'
import type { LogReplay } from '../../../lib/rooms/log-replay.ts'
import { Stream } from './fixture.ts'
import type { LogGap } from '../../../lib/pubsub/event-log.ts'

const empty = (at: Cursor): ReplayBuffer => new ReplayBuffer('chat', () => ({ ring: new EventRing(at), end: 0 }))

t.test('a rewind to trimmed events starts with the first event that is left, without a reset', async (t) => {
  const start = { epoch: 'e', offset: 0, tag: 0 }
  const top = { epoch: 'e', offset: 2, tag: 2 }
  let lastPage = empty(start)
  const history = {
    lastPage: async () => ({ buffer: lastPage, isWhole: true }),
    readAfter: async (): Promise<LogGap> => 'trimmed',
    dropLastPage () { lastPage = empty(top) }
  }
  const stream = new Stream(false)
  const room: CatchUpTarget = {
    chatId: 'chat',
    retryMs: 2_000,
    chatLog: {
      inSync: true,
      isUnproven: false,
      position: top,
      recent: empty(top),
      replay: history as unknown as LogReplay, // All that is asked of it.
      async whenInSync () {},
      async sync () {}
    },
    attach (connection, frames, missed) { connection.write(concat([...frames, ...missed.frames]), frames) }
  }
  await catchUp(room, stream.connection.asConnection, { rewind: 1 })
  t.same(stream.names, ['ready'])
  t.same(stream.ids, ['e-2-2'])
})
