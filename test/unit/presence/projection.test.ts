import t from 'tap'
import { presenceField } from '../../../lib/presence/fields.ts'
import type { Field } from '../../../lib/pubsub/state-store.ts'
import { PresenceProjection } from '../../../lib/presence/projection.ts'

const here: Field = { value: '', expired: false }

t.test('users who join at the same time are sent in one frame', async (t) => {
  const view = new PresenceProjection(
    { chatId: 'c', fields: new Map(), write () {}, emit () {} },
    { instanceId: 'one', onFieldDeleted () {} }
  )
  const join = async (userId: string): Promise<void> => {
    view.field(presenceField('two', userId), here)
    await new Promise(setImmediate)
  }
  await join('ann')
  const [frame] = view.snapshot()
  t.match(String(frame), '"users":["ann"]')
  t.equal(view.snapshot()[0], frame)
  await join('bob')
  t.match(String(view.snapshot()[0]), '"users":["ann","bob"]')
})
