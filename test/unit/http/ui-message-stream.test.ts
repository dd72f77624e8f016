import t from 'tap'
import type { BotMessageFollower } from '../../../lib/bot-messages/follower.ts'
import { writeUIMessage } from '../../../lib/http/ui-message-stream.ts'
import type { Connection } from '../../../lib/sse/connection.ts'

/** Writes what a follower yields to a client that receives a number of writes. */
async function write (contents: () => AsyncGenerator<string, unknown>, receives = Infinity): Promise<string[]> {
  const calls: string[] = []
  const connection = {
    onClose: () => () => {},
    write: (chunk: Buffer) => { calls.push(chunk.toString()) },
    writeAndDrain: async (chunk: Buffer) => {
      calls.push(chunk.toString())
      return calls.length <= receives
    },
    finish: async () => { calls.push('finish') },
    destroy: () => { calls.push('destroy') }
  } as unknown as Connection
  await writeUIMessage(connection, { contents, close: () => { calls.push('close') } } as unknown as BotMessageFollower)
  return calls
}

const first = 'data: {"type":"a"}\n\ndata: {"type":"b"}\n\n'

t.test('the stream ends with the bot message', async (t) => {
  t.same(await write(async function * () {
    yield ',{"type":"a"},{"type":"b"}'
    return { id: 'm', status: 'stopped' }
  }), [first, 'data: {"type":"abort"}\n\ndata: [DONE]\n\n', 'finish', 'close'])
})

t.test('nothing is written to a client that has disconnected', async (t) => {
  t.same(await write(async function * () {
    yield ',{"type":"a"},{"type":"b"}'
    yield ',{"type":"c"}'
  }, 0), [first, 'close'])
  t.same(await write(async function * () { return undefined }), ['close'])
})

t.test('the connection is cut if the rest cannot be read', async (t) => {
  t.same(await write(async function * () {
    yield ',{"type":"a"},{"type":"b"}'
    throw new Error('lost')
  }), [first, 'destroy', 'close'])
})
