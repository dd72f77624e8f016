import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { ListenerMap, ListenerSet } from '../../../lib/core/listener-set.ts'

t.test('errors and rejections are reported, and the other listeners are called', async (t) => {
  const reported: unknown[] = []
  const set = new ListenerSet<[number]>((error) => { reported.push(error) })
  const got: number[] = []
  set.add(() => { throw new Error('thrown') })
  set.add(() => Promise.reject(new Error('rejected')))
  set.add((n) => { got.push(n) })
  set.notify(1)
  await turn()
  t.same(got, [1])
  t.match(reported, [{ message: 'thrown' }, { message: 'rejected' }])
})

t.test('a listener that is added during a call waits for the next one; a removed one is not called', async (t) => {
  const set = new ListenerSet<[]>((error) => { throw error })
  const calls: string[] = []
  const again = (): void => {
    calls.push('again')
    set.delete(again)
    set.add(again)
    remove()
  }
  set.add(again)
  const remove = set.add(() => { calls.push('removed') })
  set.notify()
  t.same(calls, ['again'])
  t.equal(set.size, 1)
  set.clear()
  set.notify()
  t.same(calls, ['again'])
})

t.test('a listener that is added twice is called once, in the first way', async (t) => {
  const set = new ListenerSet<[]>((error) => { throw error })
  const calls: string[] = []
  const listener = (): void => { calls.push('listener') }
  set.add(listener, () => { calls.push('first') })
  set.add(listener)
  set.notify()
  t.same(calls, ['first'])
})

t.test('listeners by key: a key is kept as long as it has listeners, and errors are reported with it', async (t) => {
  const reported: unknown[] = []
  const map = new ListenerMap<[number]>((error, key) => { reported.push([key, error]) })
  const got: number[] = []
  const removers = [map.add('a', (n) => { got.push(n) }), map.add('a', (n) => { got.push(-n) })]
  map.add('b', () => { throw new Error('thrown') })
  map.notify('a', 1)
  map.notify('b', 2)
  map.notify('other', 3)
  t.same(got, [1, -1])
  t.match(reported, [['b', { message: 'thrown' }]])
  removers[0]?.()
  t.equal(map.size, 2)
  for (const remove of removers) remove()
  t.equal(map.get('a'), undefined)
  t.equal(map.size, 1)
})

t.test('a function that is called late removes no later listener of its key', async (t) => {
  const map = new ListenerMap<[]>((error) => { throw error })
  const calls: string[] = []
  const remove = map.add('a', () => { calls.push('early') })
  remove()
  map.add('a', () => { calls.push('late') })
  remove()
  map.notify('a')
  t.same(calls, ['late'])
})

t.test('clearing reaches listeners that a call in progress has not reached', async (t) => {
  const map = new ListenerMap<[]>((error) => { throw error })
  map.add('a', () => map.clear())
  map.add('a', () => t.fail('not called'))
  map.notify('a')
  t.equal(map.size, 0)
})
