import t from 'tap'
import { once } from 'node:events'
import { inspect } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import type { ChatEventInput } from '../../../lib/index.ts'
import { Random } from '../../faults/random.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { keepLines } from '../../support/log.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { GET, connect, tick } from './connect.ts'

t.beforeEach((t) => nothingUnhandled(t))

t.test('garbage on the channels of Redis is ignored, even on internal channels', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const { lines, write } = keepLines()
  const { app, url } = await startApp(t, { redisUrl: redis.url, authorize: () => true }, {
    server: { logger: { level: 'warn', stream: { write } } }
  })
  const admin = new Redis(redis.url)
  t.teardown(() => admin.disconnect())
  const stream = await EventStream.open(t, `${url}/api/chats/c/events`)
  await stream.next()
  const handled: unknown[] = []
  app.chatEvents.onChatEvent('c', (event) => { handled.push(event) })
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const bytes = (length: number): Buffer => Buffer.from(Array.from({ length }, () => Math.floor(random.next() * 256)))
  const forged = [
    'null',
    '1',
    '[]',
    '{}',
    '{',
    '{"chatId":null,"userId":{}}',
    '{"chatId":"c"}',
    '"\n\nevent: forged\ndata: 1\n\n"',
    '{"a":1}\r\nevent: forged'
  ]
  for (const channel of ['rt:{chat:c}', 'rt:!{revoked}', 'rt:{%zz}', 'rt:{', 'rt:{chat:c']) {
    for (let n = 0; n < 100; n++) await admin.publish(channel, bytes(n))
    await admin.publish(channel, bytes(100_000).toString('latin1').repeat(20))
    for (const head of [
      '',
      '1',
      '1 ',
      '1 - - - - d web 1 ',
      '1 - - - - f web 1 x ',
      '2 - - - - d web 1 x ',
      '1 a-b 1 1 1 d web 1 x ',
      '1 e 9999999999999999 1 1 d web 1 x ',
      `1 ${'e'.repeat(50_000)} `
    ]) {
      for (const json of forged) await admin.publish(channel, head + json)
    }
    for (const json of forged.slice(-2)) await admin.publish(channel, `1 - - - - d web 1 message ${json}`)
    for (const json of ['null', '1', '{', '{"chatId":null,"userId":{}}']) {
      if (channel.includes('revoked')) await admin.publish(channel, `1 - - - - d web 1 revoke ${json}`)
    }
  }
  await app.chatEvents.emitChatMessage('c', { n: 1 })
  t.match(await stream.next(), { event: 'message', data: { message: { n: 1 } } })
  t.match(handled, [{ message: { n: 1 } }])
  t.equal((await fetch(`${url}/api/health/pubsub`)).status, 200)
  t.notMatch(lines.join(''), /forged/)
})

/** Strings that look like a pattern, a path, a JavaScript name, a hash tag, an encoding, or a terminator. */
const IDS = [
  '*', 'a*', 'a', 'ab', 'a?', '?', '[ab]', '[^a]', '{a}', '}{', 'a}', '{', '/', '\\', '\\*', '..', '.', '%', '%2A',
  '%00', '\0', 'a\0', ' ', 'a\r\nb', 'a\u2028b', 'чат', 'чат\u0301', '💬', '\u202egnp', '__proto__', 'constructor',
  'hasOwnProperty', 'chat:a', ':m', ':s', 'x'.repeat(1024), 'ж'.repeat(512)
]

t.test('any string is the id of a chat of its own, also over Redis', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const setup = (app: FastifyInstance): unknown => {
    return app.get<{ Querystring: { id: string } }>('/stream', async (request, reply) => {
      await reply.sse.chat(request.query.id)
    })
  }
  const { app } = await startApp(t, { redisUrl: redis.url })
  const { app: other, url } = await startApp(t, { redisUrl: redis.url, instanceId: 'other' }, { setup })
  const streams = await Promise.all(IDS.map((id) => EventStream.open(t, `${url}/stream?id=${encodeURIComponent(id)}`)))
  const handled: [string, unknown][] = []
  for (const [n, id] of IDS.entries()) {
    t.match(await streams[n]?.next(), { event: 'ready', data: { chatId: id } })
    other.chatEvents.onChatEvent(id, (event) => { handled.push([id, event]) })
  }
  await Promise.all(IDS.map((id) => app.chatEvents.emitChatMessage(id, { to: id })))
  await Promise.all(IDS.map((id) => app.chatEvents.emitChatMessage(id, { last: true })))
  for (const [n, id] of IDS.entries()) {
    const events = await streams[n]?.take(2)
    t.same(events?.map(({ data }) => data), [
      { type: 'message', chatId: id, message: { to: id } }, { type: 'message', chatId: id, message: { last: true } }
    ])
    t.equal(handled.filter(([to]) => to === id).length, 2)
  }
  for (const wrong of ['', '\ud800', 'x\udc00', 'x'.repeat(1025), 'ж'.repeat(513)]) {
    await t.rejects(app.chatEvents.emitChatMessage(wrong, {}), { code: 'RT_CHAT_ID_INVALID' })
  }
})

t.test('payloads with prototype keys change no prototype, and arrive unchanged', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const { app, url } = await startApp(t, { redisUrl: redis.url })
  const json = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},' +
    '"toString":null,"toJSON":{"polluted":1}}'
  const stream = await EventStream.open(t, `${url}/api/chats/__proto__/events`)
  await stream.next()
  const handled: unknown[] = []
  app.chatEvents.onChatEvent('__proto__', (event) => { handled.push(event) })
  await app.chatEvents.emitChatMessage('__proto__', JSON.parse(json))
  await app.chatEvents.publish('__proto__', JSON.parse(`{"type":"__proto__","__proto__":${json},"chatId":"forged"}`))
  for (const type of ['constructor', 'toString']) {
    await app.chatEvents.publish('__proto__', { type } as unknown as ChatEventInput)
  }
  const [message, own, ...named] = await stream.take(4)
  t.equal(JSON.stringify(message?.data), `{"type":"message","message":${json},"chatId":"__proto__"}`)
  t.equal(own?.event, '__proto__')
  t.equal(JSON.stringify(own?.data), `{"type":"__proto__","__proto__":${json},"chatId":"__proto__"}`)
  t.same(named.map(({ event }) => event), ['constructor', 'toString'])
  t.equal(handled.length, 4)
  t.equal(({} as Record<string, unknown>).polluted, undefined)
})

t.test('no input can inject a line break into a stream', async (t) => {
  const LINES = ['\n', '\r', '\r\n', '\n\n', '\0'].map((end) => `x${end}event: forged${end}data: 1\n\n`)
  const codes: unknown[] = []
  const { app, url } = await startApp(t, {}, {
    setup: (app) => app.get('/own', async (_request, reply) => {
      const send = async (event: object): Promise<void> => {
        codes.push(await reply.sse.send({ data: 1, ...event }).then(() => 'sent', (error) => error.code))
      }
      for (const line of LINES) {
        await send({ event: line })
        await send({ id: line })
        await send({ retry: line })
        await send({ data: { [line]: line, toJSON: undefined } })
        await send({ data: { toJSON: () => line } })
      }
      await reply.sse.close()
    })
  })
  /** All lines that a stream has sent. */
  const read = async (response: Response, end: (text: string) => boolean): Promise<string[]> => {
    let text = ''
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString()
      if (end(text)) break
    }
    return text.split(/\r\n|\r|\n/)
  }
  const forged = (lines: string[]): string[] => lines.filter((line) => /^(event: ?forged|data: ?1$)/.test(line))

  const own = await read(await fetch(`${url}/own`), () => false)
  t.same(new Set(codes), new Set(['RT_SSE_FIELD_INVALID', 'sent']))
  t.equal(codes.filter((code) => code === 'sent').length, 2 * LINES.length)
  t.same(forged(own), [])

  for (const line of LINES) {
    const response = await fetch(
      `${url}/api/chats/${encodeURIComponent(line)}/events?lastEventId=${encodeURIComponent(line)}`
    )
    const reading = read(response, (text) => text.includes('"the":"end"'))
    while (app.chatEvents.stats().localChats === 0) await tick()
    await t.rejects(app.chatEvents.publish(line, { type: line } as unknown as ChatEventInput), {
      code: 'RT_EVENT_TYPE_INVALID'
    })
    t.throws(() => app.chatEvents.emit(line, { type: line } as unknown as ChatEventInput), {
      code: 'RT_EVENT_TYPE_INVALID'
    })
    await app.pubsub.publish(`chat:${line}`, { type: line, [line]: line })
    await app.chatEvents.emitChatMessage(line, { [line]: line }, { idempotencyKey: line, traceparent: line })
    app.chatEvents.emit(line, { type: 'message', message: { [line]: line } })
    await app.chatEvents.emitChatMessage(line, { the: 'end' })
    const lines = await reading
    t.same(forged(lines), [])
    t.same(lines.filter((line) => line !== '' && !/^(id|retry|event|data): /.test(line)), [])
    t.equal(lines.filter((line) => line.startsWith('event: message')).length, 4)
    while (app.chatEvents.stats().localChats !== 0) await tick()
  }
})

t.test('a stream opens with any value of Last-Event-ID', async (t) => {
  const { app, url } = await startApp(t)
  await app.chatEvents.emitChatMessage('c', {})
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const odd = ['-', '--', 'e-0-', 'e--1-0', 'e-1e3-0', 'e-١-0', 'é-0-0', 'e-0-0 ', 'e-0-0-0', '0-0-0'.repeat(
    1_000
  ), `${'e'.repeat(33)}-0-0`, 'null', '*', '$(id)', '../../x', '%00', ...Array.from({
    length: 30
  }, () =>
    String.fromCharCode(...Array.from({ length: 20 }, () => 33 + Math.floor(random.next() * 90))))]
  for (const id of odd) {
    // A header is trimmed, so that one is an id after all.
    const inputs = id === 'e-0-0 ' ? [{ query: id }] : [{ header: id }, { query: id }]
    for (const { header, query } of inputs as { header?: string, query?: string }[]) {
      const headers: Record<string, string> = header === undefined
        ? {}
        : {
            'last-event-id': Buffer.from(header).toString('latin1')
          }
      const stream = await EventStream.open(
        t,
        `${url}/api/chats/c/events${query === undefined ? '' : `?lastEventId=${encodeURIComponent(query)}`}`,
        { headers }
      )
      t.equal(stream.response.status, 200)
      t.match(
        await stream.take(2),
        [{ event: 'ready', data: { resumed: false } }, { event: 'reset', data: { reason: 'invalid' } }],
        id.slice(0, 40)
      )
      stream.close()
    }
  }
  const twice = connect(url)
  t.teardown(() => twice.destroy())
  twice.write(GET.replace('Host', 'Last-Event-ID: e-0-0\r\nLast-Event-ID: e-0-0\r\nHost'))
  let received = ''
  twice.setEncoding('utf8').on('data', (chunk) => { received += chunk })
  while (!received.includes('"reason":"invalid"')) await once(twice, 'data')
})

t.test('the password of Redis is never shown', async (t) => {
  const PASSWORD = 'hunter2%40'
  const redis = await RedisServer.start({ args: ['--requirepass', decodeURIComponent(PASSWORD)] })
  t.teardown(() => redis.stop())
  const said: string[] = []
  const { lines, write } = keepLines()
  const start = async (redisUrl: string): ReturnType<typeof startApp> => {
    return await startApp(t, { redisUrl, publishTimeoutMs: 300, instanceId: `i${said.length}` }, {
      server: { logger: { level: 'trace', stream: { write } } }
    })
  }
  const ask = async ({ app, url }: Awaited<ReturnType<typeof startApp>>): Promise<number> => {
    const response = await fetch(`${url}/api/health/pubsub`)
    said.push(await response.text(), inspect(app.pubsub, { depth: 9, showHidden: true }), JSON.stringify(app.pubsub))
    await app.chatEvents.emitChatMessage('c', {}).catch((error) => {
      return said.push(inspect(error, { depth: 9, showHidden: true }), error.stack)
    })
    await app.chatEvents.emitChatMessage('c', {}, { ephemeral: true }).catch((error) => {
      return said.push(inspect(error, { depth: 9, showHidden: true }))
    })
    return response.status
  }
  const right = await start(redis.url.replace('//', `//:${PASSWORD}@`))
  await until(() => ask(right), (status) => status === 200)
  const wrong = await start(redis.url.replace('//', '//:hunter2-wrong@'))
  const unknownUser = await start(redis.url.replace('//', '//hunter2:hunter2@'))
  for (const app of [wrong, unknownUser]) {
    const stream = await EventStream.open(t, `${app.url}/api/chats/c/events`)
    t.equal(await ask(app), 503)
    stream.close()
  }
  await redis.kill()
  t.equal(await ask(right), 503)
  for (const { app } of [right, wrong, unknownUser]) await app.close()
  t.match(lines.join(''), /WRONGPASS/, 'the log names the error')
  t.match(lines.join(''), /Redis is out of reach/)
  t.notMatch(lines.join('') + said.join(''), /hunter2/)
})
