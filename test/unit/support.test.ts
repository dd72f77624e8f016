import t from 'tap'
import { freePort, reserve } from '../support/free-port.ts'
import { replaceAll } from '../support/replace-all.ts'

t.test('what one text is replaced by is not replaced again', async (t) => {
  const config = 'server a 127.0.0.1:3001 check\nserver b 127.0.0.1:3002 check'
  t.equal(replaceAll(config, { '127.0.0.1:3001': '127.0.0.1:30021', '127.0.0.1:3002': '127.0.0.1:28391' }),
    'server a 127.0.0.1:30021 check\nserver b 127.0.0.1:28391 check')
  t.equal(replaceAll('http {', { 'http {': 'http { $& $1' }), 'http { $& $1', 'a replacement is taken literally')
  t.throws(() => replaceAll(config, { 'listen 80;': '' }), { message: /'listen 80;'/ })
})

t.test('a port that one test was given is given to no other', async (t) => {
  const port = await freePort()
  t.equal(await reserve(port), false)
})
