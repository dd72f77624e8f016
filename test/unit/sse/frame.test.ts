import t from 'tap'
import fc from 'fast-check'
import { createParser } from 'eventsource-parser'
import { encodeFrame, heartbeat } from '../../../lib/sse/frame.ts'

/** Returns everything that a parser which follows the standard reports. */
function read (bytes: Buffer): unknown[] {
  const parsed: unknown[] = []
  const parser = createParser({
    onEvent: ({ id, event, data }) => parsed.push({ id, event, data }),
    onRetry: (retry) => parsed.push({ retry }),
    onComment: (comment) => parsed.push({ comment }),
    onError: (error) => parsed.push(error)
  })
  parser.feed(bytes.toString())
  return parsed
}

t.test('a frame is parsed as it was encoded', async (t) => {
  t.same(read(encodeFrame({ id: '1-2-3', event: 'message', json: '{"a":1}' })), [
    { id: '1-2-3', event: 'message', data: '{"a":1}' }
  ])
  t.same(read(encodeFrame({ json: '"é"' })), [{ id: undefined, event: undefined, data: '"é"' }])
  t.same(read(encodeFrame({ retry: 5 })), [{ retry: 5 }])
  t.same(read(heartbeat), [{ comment: '' }])
})

t.test('heartbeats dispatch no event, and do not affect the event that follows', async (t) => {
  t.notMatch(heartbeat.toString(), '\n\n')
  const bytes = Buffer.concat([
    heartbeat,
    heartbeat,
    encodeFrame({ id: '1-2-3', event: 'message', json: '1' }),
    heartbeat
  ])
  t.same(read(bytes), [{ comment: '' }, { comment: '' }, { id: '1-2-3', event: 'message', data: '1' }, { comment: '' }])
})

t.test('a line break, a NUL and an invalid name are refused in every field', async (t) => {
  const forged = 'x\nevent: forged\ndata: 1\n\n'
  const wrong = [
    { id: forged }, { id: 'a\rb' }, { id: 'a\0' }, { id: '' }, { id: 5 as unknown as string },
    { event: forged }, { event: 'a\rb' }, { event: '' }, { event: 'a b' }, { event: 'x'.repeat(65) },
    { event: 1 as unknown as string },
    { json: '1\n' }, { json: '1\r2' }, { json: '1\n2' },
    { retry: -1 }, { retry: 1.5 }, { retry: NaN }, { retry: forged as unknown as number },
    { retry: null as unknown as number }
  ]
  for (const frame of wrong) t.throws(() => encodeFrame(frame), { code: 'RT_SSE_FIELD_INVALID' }, JSON.stringify(frame))
})

t.test('any input yields at most one event, which equals the input', async () => {
  const text = fc.oneof(
    fc.string(),
    fc
      .constantFrom('\n', '\r', '\r\n', '\0', 'data: x', ':', ' ', '\n\nevent: forged\n')
      .chain((part) => fc.string().map((rest) => rest + part + rest))
  )
  fc.assert(fc.property(fc.record({ id: text, event: text, data: fc.jsonValue() }), ({ id, event, data }) => {
    const json = JSON.stringify(data)
    let bytes
    try {
      bytes = encodeFrame({ id, event, json })
    } catch {
      return /[\r\n\0]/.test(id) || id === '' || !/^[\w.-]{1,64}$/.test(event)
    }
    const parsed = read(bytes)
    return parsed.length === 1 && JSON.stringify(parsed[0]) === JSON.stringify({ id, event, data: json })
  }), { numRuns: 2000 })
})
