import t, { type Test } from 'tap'
import type { Connection } from '../../../lib/sse/connection.ts'
import { parseCursor } from '../../../lib/pubsub/cursor.ts'
import { ChatFrame } from '../../../lib/rooms/frames.ts'
import { MultiChatStream } from '../../../lib/rooms/multi-chat-stream.ts'
import type { EventSink as Seat } from '../../../lib/rooms/event-sink.ts'
import { encodeFrame } from '../../../lib/sse/frame.ts'
import { Fixture, Stream } from './fixture.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import { turn } from '../../support/turn.ts'

/** A stream whose client receives nothing until `drain` is called. */
interface Stage {
  stream: MultiChatStream
  written: () => string
  chunks: () => string[]
  fill: (bytes: number) => void
  drain: () => void
  close: () => void
}

function start (t: Test): Stage {
  const chunks: string[] = []
  let drain = (): void => {}
  const connection = {
    closed: false,
    bufferedBytes: 0,
    write: (chunk: Buffer) => { chunks.push(chunk.toString()) },
    writeAndDrain: async (chunk: Buffer) => {
      chunks.push(chunk.toString())
      await new Promise<void>((resolve) => { drain = resolve })
    }
  }
  t.teardown(() => { connection.closed = true; drain() })
  // All that stream use of one is here.
  const stream = new MultiChatStream(connection as unknown as Connection, [
    { after: undefined, userId: undefined },
    { after: 'invalid', userId: undefined }
  ])
  return {
    stream,
    written: () => chunks.join(''),
    chunks: () => chunks,
    fill: (bytes) => { connection.bufferedBytes = bytes },
    drain: () => drain(),
    close: () => { connection.closed = true }
  }
}

const frame = (id: string, json = '1'): [Buffer, ChatFrame[]] => {
  const bytes = encodeFrame({ id, event: 'message', json })
  return [bytes, [new ChatFrame(parseCursor(id), bytes)]]
}

t.test('the bytes of all chats count for the buffer of a stream, sent or not', async (t) => {
  const { stream, fill } = start(t)
  const [one, two] = stream.sinks as [Seat, Seat]
  t.equal(one.crowded, false)
  two.write(...frame('e-1-1', '1'.repeat(70_000)))
  t.equal(one.crowded, true)
  await turn()
  t.equal(one.crowded, false)
  fill(70_000)
  t.equal(one.crowded, true)
})

t.test('chats that wait for their turn write the positions of that moment', async (t) => {
  const { stream, written, drain } = start(t)
  const [one, two] = stream.sinks as [Seat, Seat]
  one.inTurn(() => one.writeAndDrain(...frame('e-1-1')))
  one.inTurn(() => one.writeAndDrain(...frame('e-2-2')))
  await turn()
  two.write(...frame('f-1-1'))
  await turn()
  t.same(written().match(/id: .*/g), ['id: e-1-1.!', 'id: e-1-1.f-1-1'])
  drain()
  await turn()
  t.same(written().match(/id: .*/g)?.slice(2), ['id: e-2-2.f-1-1'])
})

t.test('the frames of many chats in one turn are flushed before they exceed the buffer', async (t) => {
  const { stream, written } = start(t)
  const [one, two] = stream.sinks as [Seat, Seat]
  for (let n = 1; n <= 10; n++) for (const seat of [one, two]) seat.write(...frame(`e-${n}-${n}`, '1'.repeat(60_000)))
  t.ok(written().length > 1_000_000 && written().length < budgets.turn + 70_000)
  await turn()
  t.equal(written().match(/^id/gm)?.length, 20)
})

t.test('frames that are written together stay together, with their ids', async (t) => {
  const { stream, chunks } = start(t)
  const [one] = stream.sinks as [Seat, Seat]
  const [[, large], [, small]] = [frame('e-1-1', '1'.repeat(budgets.turn)), frame('e-2-2')]
  one.write(Buffer.alloc(0), [...large, ...small])
  await turn()
  t.same(chunks().map((chunk) => chunk.match(/^id: .*/gm)), [['id: e-1-1.!', 'id: e-2-2.!'], null])
  t.equal(chunks()[1], '')
})

t.test('a chat that catches up on a full stream waits until there is room', async (t) => {
  const fixture = new Fixture(t)
  await fixture.follow()
  const before = fixture.room.chatLog.position
  fixture.publish(3)
  await fixture.rest()
  for (const crowded of [false, true]) {
    const stream = new Stream(true)
    Object.assign(stream.connection, { crowded })
    fixture.room.join(stream.connection.asConnection, { after: before })
    await fixture.rest()
    const missed = stream.frames.length
    fixture.publish()
    await fixture.rest()
    t.equal(stream.frames.length - missed, crowded ? 0 : 1, 'an event that arrives meanwhile waits, too')
    stream.connection.drain()
    await fixture.rest()
    t.equal(stream.frames.length - missed, 1)
  }
})

t.test('no chat waits for a client that has disconnected', async (t) => {
  const { stream, written, close } = start(t)
  const [seat] = stream.sinks as [Seat]
  close()
  seat.write(...frame('e-1-1', '1'.repeat(70_000)))
  t.equal(seat.crowded, false)
  await turn()
  t.equal(written(), '')
})
