import t from 'tap'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { errorStatus } from '../../lib/errors.ts'
import { EventStream } from '../support/event-stream.ts'
import { Document, serveSnippet } from '../support/snippets.ts'

const guide = await Document.read('docs/publishing.md')

t.test('a service publishes with the token, and once with one key', async (t) => {
  const [server] = guide.snippets('Publishing from other services')
  const url = await serveSnippet(t, server, { env: { PUBLISH_TOKEN: 's3cret' } })
  const stream = await EventStream.open(t, `${url}/api/chats/general/events`)
  t.match(await stream.next(), { event: 'ready' })
  const [command = ''] = guide.blocks('sh')
  const send = async (PUBLISH_TOKEN: string): Promise<Record<string, unknown>> => {
    const script = command.replace('localhost:3000', new URL(url).host)
    const { stdout } = await promisify(execFile)('sh', ['-c', script], { env: { ...process.env, PUBLISH_TOKEN } })
    return JSON.parse(stdout)
  }
  for (const token of ['', 'wrong', 's3crets']) t.match(await send(token), { statusCode: 403, code: 'RT_FORBIDDEN' })
  const { id, ...rest } = await send('s3cret')
  t.same(rest, { duplicate: false })
  t.same(await send('s3cret'), { id, duplicate: true })
  const message = { text: 'Your order is on its way' }
  t.same(await stream.next(), { event: 'message', id, data: { type: 'message', message, chatId: 'general' } })
})

t.test('the table of errors has the status of each code', async (t) => {
  const rows = [...guide.text.matchAll(/^\| (\d+) \| (.+?) \|/gm)]
  t.equal(rows.length, 6)
  for (const [, status, codes = ''] of rows) {
    for (const [code] of codes.matchAll(/RT_\w+/g)) t.equal(errorStatus[code], Number(status), code)
  }
})
