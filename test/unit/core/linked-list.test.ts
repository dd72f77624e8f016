import t from 'tap'
import { LinkedList, type Linked } from '../../../lib/core/linked-list.ts'

interface Item extends Linked<Item> { name: string }

t.test('items keep their order when others are removed', (t) => {
  for (const gone of ['', 'a', 'b', 'c', 'ab', 'ba', 'bc', 'ac', 'ca', 'abc', 'cba', 'bac']) {
    const items = [...'abc'].map((name): Item => ({ name }))
    const list = new LinkedList<Item>()
    for (const item of items) list.add(item)
    for (const name of gone) t.equal(list.delete(items.find((item) => item.name === name) as Item), true)
    const left = [...'abc'].filter((name) => !gone.includes(name))
    t.same([...list].map(({ name }) => name), left)
    t.equal(list.size, left.length)
    for (const item of items) t.equal(list.has(item), left.includes(item.name))
    list.add({ name: 'd' })
    t.same([...list].map(({ name }) => name), [...left, 'd'], 'and more can come')
  }
  t.end()
})

t.test('the current item can be removed during iteration, and leaves nothing behind', (t) => {
  const list = new LinkedList<Item>()
  const items = [...'abc'].map((name): Item => ({ name }))
  for (const item of items) list.add(item)
  for (const item of list) t.equal(list.delete(item), true)
  t.equal(list.size, 0)
  t.same([...list], [])
  t.same(items.map(({ previous, next }) => [previous, next]), items.map(() => [undefined, undefined]))
  t.equal(list.delete(items[0] as Item), false)
  t.equal(list.delete({ name: 'never here' }), false)
  t.end()
})
