import t from 'tap'
import { PackedText } from '../../../lib/core/packed-text.ts'

t.test('a text comes out as it went in, also with half a character', async (t) => {
  for (const text of ['', 'abc', 'é😀', '\ud83d', 'a\ude00b']) t.equal(new PackedText(text).toString(), text)
})

t.test('it takes the bytes of UTF-8, and two for each code unit only if UTF-8 cannot contain it', async (t) => {
  t.equal(new PackedText('a€').bytes, 4)
  t.equal(new PackedText('a€\ud83d').bytes, 6)
})
