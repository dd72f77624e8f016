import t from 'tap'
import fc from 'fast-check'
import { decodePayload, decodeWire, encodePayload, encodeWire } from '../../../lib/pubsub/wire.ts'

const envelope = { from: 'web-1', timestamp: 1, event: 'message', json: '{"a b":"é"}' }

t.test('an envelope is decoded as it was encoded', async (t) => {
  t.same(decodePayload(Buffer.from(encodePayload(envelope))), envelope)
  for (const kind of ['d', 'e'] as const) {
    t.same(decodeWire(Buffer.from(encodeWire(kind, envelope))), { kind, envelope })
  }
})

t.test('a message with a position is decoded with it', async (t) => {
  const payload = encodePayload(envelope)
  for (const kind of ['d', 'f'] as const) {
    const position = { epoch: 'a1B', offset: 7, tag: 140737488355327, previousTag: 0, isMarker: kind === 'f' }
    t.same(decodeWire(Buffer.from(`1 a1B 7 140737488355327 0 ${kind} ${payload}`)), {
      kind,
      envelope: { ...envelope, position }
    })
  }
})

t.test('a message with an incomplete or missing position is ignored', async (t) => {
  const payload = encodePayload(envelope)
  const heads = [
    '1 - - - - f', '1 a 1 2 3 e', '1 a 1 2 - d', '1 a 1 2 x d', '1 a 1 - 3 d', '1 a -1 2 3 d', '1 a_b 1 2 3 d',
    '1  1 2 3 d', '1 a 1.5 2 3 d',
    `1 a ${10 ** 15} 2 3 d`, `1 ${'a'.repeat(33)} 1 2 3 d`, '0 a 1 2 3 d', '2 a 1 2 3 d', '1 a 1 2 3 x'
  ]
  for (const head of heads) t.equal(decodeWire(Buffer.from(`${head} ${payload}`)), undefined, head)
})

t.test('decoding never throws, and never yields a line break', async () => {
  const word = fc.oneof(
    fc.constantFrom('1', '2', '-', 'd', 'e', 'f', 'a', '7', '\n', '\r', '{}', 'message'),
    fc.string()
  )
  const text = fc.array(word, { maxLength: 12 }).map((words) => Buffer.from(words.join(' ')))
  fc.assert(fc.property(fc.oneof(text, fc.uint8Array().map((bytes) => Buffer.from(bytes))), (bytes) => {
    const message = decodeWire(bytes)
    if (message === undefined || message.kind === 's') return true
    const { envelope } = message
    return !/[\r\n]/.test(envelope.json + envelope.event + envelope.from)
  }), { numRuns: 5_000 })
})

t.test('a change of the state is decoded as it was broadcast', async (t) => {
  const changeOf = (line: string): unknown =>
    (decodeWire(Buffer.from(line)) as { change?: unknown } | undefined)?.change
  t.same(changeOf('1 a1B 7 - - s = a%20b {"n": 1}'), {
    version: { epoch: 'a1B', count: 7 },
    operation: 'set',
    field: 'a b',
    value: '{"n": 1}'
  })
  t.match(changeOf('1 a 1 - - s + d 2 5 \n é '), {
    operation: 'append', value: '', piece: { at: 2, end: 5, content: '\n é ' }
  })
  for (const [code, operation] of [
    ['o', 'open'],
    ['-', 'delete'],
    ['x', 'expire']
  ]) { t.match(changeOf(`1 a 1 - - s ${code} t `), { operation, value: '' }) }
  const garbage = [
    '',
    '1 a 1 - - s = t',
    '2 a 1 - - s = t 1',
    '1 - 1 - - s = t 1',
    '1 a x - - s = t 1',
    '1 a 1 - - d = t 1',
    '1 a 1 - - s y t 1',
    '1 a 1 - - s = % 1',
    '1 a 1 - - s + d 1',
    '1 a 1 - - s + d 1 2',
    '1 a 1 - - s + d x 2 a',
    '1 a 1 - - s + d 1 x a'
  ]
  for (const line of garbage) t.equal(decodeWire(Buffer.from(line)), undefined, line)
})

t.test('decoding a change never throws', async () => {
  const word = fc.oneof(fc.constantFrom('1', 'a', '7', '-', 's', '=', '+', 'x', '%', ''), fc.string())
  fc.assert(fc.property(fc.array(word, { maxLength: 12 }), (words) => { decodeWire(Buffer.from(words.join(' '))) }))
})
