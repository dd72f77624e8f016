import t from 'tap'
import { budgets } from '../../../../lib/core/budgets.ts'
import { ByteBudget } from '../../../../lib/pubsub/byte-budget.ts'
import { DraftContent } from '../../../../lib/pubsub/local/draft-content.ts'

function fill (content: DraftContent, pieces: number, bytes: number): DraftContent {
  for (let n = 0; n < pieces; n++) {
    const at = content.length
    content.append({ at, end: at + bytes, content: 'x'.repeat(bytes) })
  }
  return content
}

t.test('contents share a budget: the oldest that is kept is dropped first, one that grows never is', async (t) => {
  const budget = new ByteBudget(100_000)
  const make = (): DraftContent => fill(new DraftContent(budget), 3, 10_000)
  const growing = make()
  const kept = [make(), make()]
  for (const content of kept) content.keep()
  t.ok(budget.bytes > 90_000 && budget.bytes <= 100_000)
  fill(growing, 1, 10_000)
  t.same(kept.map((content) => content.readFrom(0).length), [0, 3])
  fill(growing, 10, 10_000)
  t.same(kept.map((content) => content.readFrom(0).length), [0, 0])
  t.equal(growing.length, 140_000)
  t.equal(growing.readFrom(0).length, 14)
  growing.clear()
  for (const content of kept) content.clear()
  t.equal(budget.bytes, 0, 'and what is dropped does not count')
})

t.test('short content is joined, long content is read in pages', async (t) => {
  const content = fill(new DraftContent(new ByteBudget(Infinity)), 2, budgets.draft / 2)
  t.equal(content.joined?.length, budgets.draft)
  fill(content, 1, 1)
  t.equal(content.joined, undefined)
  fill(content, 1, 1)
  t.equal(content.joined, undefined)
  fill(content, 1, budgets.page)
  t.same(content.readFrom(5).map(({ at }) => at), [0, budgets.draft / 2, budgets.draft, budgets.draft + 1])
  t.same(content.readFrom(budgets.draft + 2).length, 1)
  t.same(content.readFrom(content.length), [])
})

t.test('the bytes of short content are counted, not its characters', async (t) => {
  for (const [text, count] of [['é', budgets.draft / 2], ['a', budgets.draft]] as const) {
    const content = new DraftContent(new ByteBudget(Infinity))
    content.append({ at: 0, end: count, content: text.repeat(count) })
    t.equal(content.joined?.length, count)
    content.append({ at: count, end: count + 1, content: text })
    t.equal(content.joined, undefined)
  }
})
