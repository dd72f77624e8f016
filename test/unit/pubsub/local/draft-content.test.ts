import t from 'tap'
import { budgets } from '../../../../lib/core/budgets.ts'
import { ByteBudget } from '../../../../lib/pubsub/byte-budget.ts'
import { DraftContent } from '../../../../lib/pubsub/local/draft-content.ts'

const HALF = 'é'.repeat(budgets.draft / 4)

function append (content: DraftContent, ...texts: string[]): DraftContent {
  for (const text of texts) content.append({ at: content.length, end: content.length + text.length, content: text })
  return content
}

const contentOf = (...texts: string[]): DraftContent => append(new DraftContent(new ByteBudget(Infinity)), ...texts)

t.test('contents share a budget: the oldest that is kept is dropped first, one that grows never is', async (t) => {
  const budget = new ByteBudget(100_000)
  const part = 'x'.repeat(10_000)
  const make = (): DraftContent => append(new DraftContent(budget), part, part, part)
  const growing = make()
  const kept = [make(), make()]
  for (const content of kept) content.keep()
  t.ok(budget.bytes > 90_000 && budget.bytes <= 100_000)
  append(growing, part)
  t.same(kept.map((content) => content.readFrom(0).length), [0, 1])
  append(growing, ...Array<string>(10).fill(part))
  t.same(kept.map((content) => content.readFrom(0)), [[], []])
  t.equal(growing.length, 140_000)
  t.equal(growing.readFrom(0).map(({ content }) => content).join(''), part.repeat(14))
  growing.clear()
  for (const content of kept) content.clear()
  t.equal(budget.bytes, 0, 'and what is dropped does not count')
})

t.test('content is joined as long as its bytes are short', async (t) => {
  const content = contentOf('', HALF, HALF)
  t.equal(content.joined, HALF + HALF)
  append(content, '')
  t.equal(content.joined, HALF + HALF)
  append(content, 'a')
  t.equal(content.joined, undefined)
  append(content, 'b')
  t.equal(content.joined, undefined)
  t.equal(contentOf(`${HALF}${HALF}a`).joined, undefined)
})

t.test('pieces are joined to blocks, of which a page has as many as fit, and at least one', async (t) => {
  const large = 'x'.repeat(2 * budgets.page)
  const content = contentOf('abc', HALF, HALF, 'é', 'd', large, 'e')
  const blocks = [`abc${HALF}`, `${HALF}éd`, large, 'e']
  const ends = blocks.map((_, n) => blocks.slice(0, n + 1).join('').length)
  const page = (from: number): string[] => content.readFrom(from).map(({ at, end, content }) => {
    t.equal(end - at, content.length)
    t.ok(blocks.join('').startsWith(content, at))
    return content
  })
  const [first, second, third, last] = ends as [number, number, number, number]
  t.same(page(0), blocks.slice(0, 2))
  t.same(page(first - 1), blocks.slice(0, 2))
  t.same(page(first), [blocks[1]])
  t.ok(page(second).join() === large)
  t.ok(page(third - 1).join() === large)
  t.same(page(third), ['e'])
  t.same(page(last), [])
  t.same(page(last + 100), [])
  content.keep()
  t.same(page(third), ['e'])
  t.same(contentOf('').readFrom(0), [])
  t.same(contentOf('ab', large, '').readFrom(2).map(({ at }) => at), [2])
})
