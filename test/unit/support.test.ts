import t from 'tap'
import { freePort, reserve } from '../support/free-port.ts'
import { inTime } from '../support/in-time.ts'
import { replaceAll } from '../support/replace-all.ts'
import { until } from '../support/until.ts'

t.test('a replacement is not replaced again', async (t) => {
  const config = 'server a 127.0.0.1:3001 check\nserver b 127.0.0.1:3002 check'
  t.equal(replaceAll(config, { '127.0.0.1:3001': '127.0.0.1:30021', '127.0.0.1:3002': '127.0.0.1:28391' }),
    'server a 127.0.0.1:30021 check\nserver b 127.0.0.1:28391 check')
  t.equal(replaceAll('http {', { 'http {': 'http { $& $1' }), 'http { $& $1', 'a replacement is taken literally')
  t.throws(() => replaceAll(config, { 'listen 80;': '' }), { message: /'listen 80;'/ })
})

t.test('two tests never get the same port', async (t) => {
  const port = await freePort()
  t.equal(await reserve(port), false)
})

t.test('a test that waits in vain fails, and says for what', async (t) => {
  const never = new Promise<never>(() => {})
  t.equal(await inTime(Promise.resolve(5), 'A number'), 5)
  await t.rejects(inTime(never, 'The end', 1), { message: 'The end did not come within 1 ms' })
  await t.rejects(until(async () => 5, (count) => count === 6, 1), { message: /count === 6.* The last answer: 5$/ })
  await t.rejects(until(() => never, (count) => count === 6, 1), { message: /count === 6 did not come/ })
})
