import t from 'tap'
import fc from 'fast-check'
import { joinChunks, parseChunks, splitChunks } from '../../../lib/bot-messages/chunks.ts'

t.test('a content is split into the chunks that it was joined from', async (t) => {
  fc.assert(fc.property(fc.array(fc.dictionary(fc.string(), fc.jsonValue())), (chunks) => {
    const json = chunks.map((chunk) => JSON.stringify(chunk))
    return JSON.stringify(splitChunks(joinChunks(json))) === JSON.stringify(json)
  }), { seed: 1 })
  for (const text of ['"', '\\', '\\"', '"}', '{"', '},{', '\\\\"},{"', '\u2028\n😀']) {
    const json = JSON.stringify({ [text]: [text, { text }] })
    t.same(splitChunks(joinChunks([json, json])), [json, json])
  }
  t.same(splitChunks(''), [])
})

t.test('a content with a line break is not split, since a forged frame could follow', async (t) => {
  for (const content of [',{"a":\n1}', ',{"a":\r1}']) t.throws(() => splitChunks(content), SyntaxError)
})

t.test('a content that ends within a chunk is not split', async (t) => {
  for (const content of [',{', ',{"a":"}', ',{"a":1},{"b":{}', ',{"a":"\\"}']) {
    t.throws(() => parseChunks(content), SyntaxError)
    t.throws(() => splitChunks(content), SyntaxError, content)
  }
})
