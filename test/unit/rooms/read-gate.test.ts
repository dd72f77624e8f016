import t from 'tap'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'
import { turn } from '../../support/turn.ts'

/** Asks a gate for bytes, and notes in which order the requests are let in. */
function entering (gate: ReadGate, entered: string[], name: string, bytes: number): void {
  const waiting = gate.enter(bytes)
  if (waiting === undefined) entered.push(name)
  else waiting.then(() => entered.push(name))
}

t.test('pages are read in the order of the requests, up to a limit of bytes at the same time', async (t) => {
  const gate = new ReadGate(100)
  const entered: string[] = []
  for (const [name, bytes] of [
    ['a', 60],
    ['b', 40],
    ['c', 50],
    ['d', 10]
  ] as const) { entering(gate, entered, name, bytes) }
  await turn()
  t.same(entered, ['a', 'b'])
  gate.leave(40)
  await turn()
  t.same(entered, ['a', 'b'], 'a small page does not overtake a larger one')
  gate.leave(60)
  await turn()
  t.same(entered, ['a', 'b', 'c', 'd'])
})

t.test('a page that is too large is read alone', async (t) => {
  const gate = new ReadGate(100)
  const entered: string[] = []
  for (const [name, bytes] of [['a', 1], ['all', Infinity], ['b', 1]] as const) entering(gate, entered, name, bytes)
  gate.leave(1)
  await turn()
  t.same(entered, ['a', 'all'])
  gate.leave(Infinity)
  await turn()
  t.same(entered, ['a', 'all', 'b'])
})
