import t from 'tap'
import { postgres } from '../../../lib/outbox/postgres.ts'

t.test('without a channel, nothing is notified', async (t) => {
  for (const channel of [undefined, 'c']) {
    const dialect = postgres('"rows"', '"lease"', channel)
    for (const [sql] of [dialect.add('1', '{}', 'k'), dialect.release('me')]) {
      t.equal(sql.includes('pg_notify'), channel !== undefined)
      t.notMatch(sql, /undefined/)
    }
  }
})
