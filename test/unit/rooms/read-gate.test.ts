import t from 'tap'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'
import { turn } from '../../support/turn.ts'

/** Reads through a gate. `begun` has the names of the reads in the order in which they began; `end` ends one. */
function reader (limit: number): {
  begun: string[]
  read: (name: string, bytes: number) => void
  end: (name: string) => void
} {
  const gate = new ReadGate(limit)
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const read = (name: string, bytes: number): void => {
    gate.runWhenFree(bytes, () => {
      begun.push(name)
      return new Promise<void>((resolve) => { ends.set(name, resolve) })
    })
  }
  return { begun, read, end: (name) => ends.get(name)?.() }
}

t.test('pages are read in the order of the requests, up to a limit of bytes at the same time', async (t) => {
  const { begun, read, end } = reader(100)
  for (const [name, bytes] of [['a', 60], ['b', 40], ['c', 50], ['d', 10]] as const) read(name, bytes)
  await turn()
  t.same(begun, ['a', 'b'])
  end('b')
  await turn()
  t.same(begun, ['a', 'b'], 'a small page does not overtake a larger one')
  end('a')
  await turn()
  t.same(begun, ['a', 'b', 'c', 'd'])
})

t.test('a page that is too large is read alone', async (t) => {
  const { begun, read, end } = reader(100)
  for (const [name, bytes] of [['a', 1], ['all', Infinity], ['b', 1]] as const) read(name, bytes)
  end('a')
  await turn()
  t.same(begun, ['a', 'all'])
  end('all')
  await turn()
  t.same(begun, ['a', 'all', 'b'])
})

t.test('a read that fails, or throws at once, frees its bytes before its caller continues', async (t) => {
  const gate = new ReadGate(1)
  let isFree = false
  const check = (): void => {
    isFree = false
    gate.runWhenFree(1, async () => { isFree = true })
  }
  for (const fail of [async () => { throw new Error('no') }, () => { throw new Error('no') }]) {
    await t.rejects(gate.runWhenFree(1, fail), { message: 'no' })
    check()
    t.ok(isFree)
    await turn()
  }
  t.equal(await gate.runWhenFree(1, async () => 'page'), 'page')
  check()
  t.ok(isFree)
})

t.test('a read that need not wait begins at once, and its result takes no additional turn', async (t) => {
  const order: string[] = []
  const page = Promise.resolve()
  new ReadGate(1).runWhenFree(1, () => page).then(() => order.push('read'))
  page.then(() => order.push('after'))
  await turn()
  t.same(order, ['read', 'after'])
})
