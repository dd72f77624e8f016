import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { ListenerMap, notifyEach } from '../../../lib/core/listeners.ts'

type Listener = (n: number) => unknown

const rethrow = (error: unknown): void => { throw error }

t.test('errors and rejections are reported, and the other listeners are called', async (t) => {
  const reported: unknown[] = []
  const got: number[] = []
  const listeners = new Set<Listener>([
    () => { throw new Error('thrown') },
    () => Promise.reject(new Error('rejected')),
    () => null,
    async (n) => { got.push(n) },
    (n) => { got.push(-n) }
  ])
  notifyEach(listeners, (listener) => listener(1), (error) => { reported.push(error) })
  await turn()
  t.same(got, [1, -1])
  t.match(reported, [{ message: 'thrown' }, { message: 'rejected' }])
})

t.test('a listener that is added during a call waits for the next one; a removed one is not called', async (t) => {
  const calls: string[] = []
  const removed = (): void => { calls.push('removed') }
  const again = (): void => {
    calls.push('again')
    listeners.delete(again)
    listeners.add(again)
    listeners.delete(removed)
  }
  const listeners = new Set<Listener>([again, removed])
  notifyEach(listeners, (listener) => listener(1), rethrow)
  t.same(calls, ['again'])
  notifyEach(listeners, (listener) => listener(2), rethrow)
  t.same(calls, ['again', 'again'])
})

t.test('listeners by key: a key is kept as long as it has listeners, and errors are reported with it', async (t) => {
  const reported: unknown[] = []
  const map = new ListenerMap<Listener>((error, key) => { reported.push([key, error]) })
  const got: number[] = []
  const removers = [map.add('a', (n) => { got.push(n) }), map.add('a', (n) => { got.push(-n) })]
  map.add('b', () => { throw new Error('thrown') })
  map.notify('a', (listener) => listener(1))
  map.notify('b', (listener) => listener(2))
  map.notify('other', (listener) => listener(3))
  t.same(got, [1, -1])
  t.match(reported, [['b', { message: 'thrown' }]])
  removers[0]?.()
  t.equal(map.size, 2)
  for (const remove of removers) remove()
  t.equal(map.get('a'), undefined)
  t.equal(map.size, 1)
})

t.test('a listener that is added twice is called once', async (t) => {
  const map = new ListenerMap<Listener>(rethrow)
  const got: number[] = []
  const listener = (n: number): void => { got.push(n) }
  map.add('a', listener)
  map.add('a', listener)
  map.notify('a', (each) => each(1))
  t.same(got, [1])
})

t.test('a function that is called late removes no later listener of its key', async (t) => {
  const map = new ListenerMap<Listener>(rethrow)
  const calls: string[] = []
  const remove = map.add('a', () => { calls.push('early') })
  remove()
  map.add('a', () => { calls.push('late') })
  remove()
  map.notify('a', (listener) => listener(1))
  t.same(calls, ['late'])
})

t.test('clearing reaches listeners that a call in progress has not reached', async (t) => {
  const map = new ListenerMap<Listener>(rethrow)
  map.add('a', () => map.clear())
  map.add('a', () => t.fail('not called'))
  map.notify('a', (listener) => listener(1))
  t.equal(map.size, 0)
})
