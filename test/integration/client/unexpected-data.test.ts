import t from 'tap'
import { once } from 'node:events'
import { until } from '../../support/until.ts'
import { Page, startServer, startFrames } from './page.ts'

t.setTimeout(120_000)

t.test('a stream is parsed correctly however its bytes are split', async (t) => {
  const event = (n: number): string => {
    return `id: e-${n}-${n}\r\nevent: message\rdata: {"type":"message",\n` +
      `data: "message":{"n":${n}},"text":"Grüße 💬"}\r\n\r\n`
  }
  const bytes = Buffer.from(`\ufeffretry: 1\nid: e-0-0\nevent: ready\ndata: {}\n\n:\n${event(1)}:\n${event(2)}`)
  const body = new ReadableStream({
    start: (controller) => { for (const byte of bytes) controller.enqueue(new Uint8Array([byte])) }
  })
  const page = new Page(t, '', {
    fetch: async () => new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } })
  })
  const seen = page.open('a')
  const texts: unknown[] = []
  seen.chat.on('*', (event) => { texts.push((event as unknown as { text: string }).text) })
  await seen.has(2)
  t.same([seen.numbers, texts], [[1, 2], ['Grüße 💬', 'Grüße 💬']])
})

t.test('garbage between events does no harm', async (t) => {
  const frames = [
    'retry: 1\nid: e-1-1\nevent: ready\ndata: {"chatId":"a","resumed":false}',
    'event: message\ndata: {no json',
    'id: e-2-2\nevent: message\ndata: {"type":"message","message":{"n":1}}',
    '',
    ''
  ]
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(frames.join('\n\n'))
    await once(reply.raw, 'close')
  }))
  const page = new Page(t, url)
  const seen = page.open('a')
  await seen.has(1)
  t.same([seen.numbers, seen.chat.lastEventId], [[1], 'e-2-2'])
})

const values = [
  'null', '5', '"a"', '[]', '{no json', '{}', '{"chatId":5,"code":{},"reason":{},"certain":"yes"}', '{"chatId":"other"}'
]

t.test('unexpected data in an event throws no error and loses no event', async (t) => {
  const odd = ['ready', 'refused'].flatMap((event) => values.map((value) => `event: ${event}\ndata: ${value}`))
  const url = await startFrames(
    t,
    ...odd,
    'id: e-0-0.f-1-1\nevent: message\ndata: {"chatId":"b","message":{"n":1}}',
    'id: e-1-1.f-1-1\nevent: message\ndata: {"chatId":"a","message":{"n":1}}'
  )
  const page = new Page(t, url)
  const seen = ['a', 'b'].map((id) => page.open(id))
  for (const each of seen) await each.has(1)
  t.same([page.refusals, page.states], [[], ['connecting', 'open']])
})

t.test('a reset with unexpected data still is a reset', async (t) => {
  const url = await startFrames(
    t, ...values.map((value, index) => `id: e-${index}-${index}\nevent: reset\ndata: ${value}`)
  )
  const seen = new Page(t, url).open('a')
  await until(async () => seen.resets.length, (length) => length === values.length)
  t.same(seen.resets, values.map(() => ({ reason: 'unknown', certain: false })))
  const ofSeveral = await startFrames(
    t,
    'id: e-0-0.f-1-1\nevent: reset\ndata: {no json',
    'id: e-1-1.f-1-1\nevent: reset\ndata: {"chatId":"a","reason":"epoch","certain":true}'
  )
  const page = new Page(t, ofSeveral)
  const [a, b] = [page.open('a'), page.open('b')]
  await until(async () => a.resets.length, (length) => length === 1)
  t.same([a.resets, b.resets], [[{ reason: 'epoch', certain: true }], [{ reason: 'unknown', certain: false }]])
})

t.test('invalid events reach no handler, and the events after them do', async (t) => {
  const frames = ['null', '5', '"a"', '[]', '{no json'].map((value, index) => {
    return `id: e-${index + 1}-1\nevent: message\ndata: ${value}`
  })
  const url = await startFrames(t, ...frames, 'id: e-9-1\nevent: message\ndata: {"message":{"n":9}}')
  const seen = new Page(t, url).open('a')
  await seen.has(1)
  t.same([seen.numbers, seen.resets, seen.chat.lastEventId], [[9], [], 'e-9-1'])
})
