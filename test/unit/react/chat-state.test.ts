import t from 'tap'
import { mock } from 'node:test'
import type { RealtimeChat, RealtimeClient } from '../../../lib/client/index.ts'
import { chatState, EMPTY, subscribeToChat } from '../../../lib/react/chat-state.ts'

type Handler = (event: object, info: object) => void

/** A client whose chats receive what the test emits. */
class FakeClient {
  opened = 0
  closed = 0
  readonly #handlers = new Map<string, Handler>()

  chat (): RealtimeChat {
    this.opened++
    const chat = {
      signal: new AbortController().signal,
      on: (type: string, handler: Handler) => { this.#handlers.set(type, handler) },
      onReset: () => () => {},
      close: () => { this.closed++ }
    }
    return chat as unknown as RealtimeChat // The store uses nothing else.
  }

  emit (type: string, event: object): void {
    this.#handlers.get(type)?.(event, {})
  }
}

function start (): { fake: FakeClient, client: RealtimeClient } {
  const fake = new FakeClient()
  return { fake, client: fake as unknown as RealtimeClient } // The store uses nothing else.
}

const microtask = async (): Promise<void> => { await undefined }

t.test('a chat is open as long as it has listeners', async (t) => {
  const { fake, client } = start()
  t.equal(chatState(client, 'c'), EMPTY, 'reading opens nothing')
  let changes = 0
  const listener = (): void => { changes++ }
  const removers = [subscribeToChat(client, 'c', listener), subscribeToChat(client, 'c', listener)]
  fake.emit('presence', { joined: ['ann'] })
  t.equal(changes, 2, 'each call counts')
  removers[0]?.()
  await microtask()
  t.same(chatState(client, 'c').presence, ['ann'])
  removers[1]?.()
  const remove = subscribeToChat(client, 'c', listener)
  await microtask()
  t.same([fake.opened, fake.closed], [1, 0], 'a listener that is added again in the same turn keeps it open')
  remove()
  remove()
  await microtask()
  t.equal(chatState(client, 'c'), EMPTY)
  t.equal(fake.closed, 1)
})

t.test('a part of the state is the same object until it changes', async (t) => {
  const { fake, client } = start()
  const remove = subscribeToChat(client, 'c', () => {})
  fake.emit('presence', { joined: ['ann'] })
  const { presence, botMessages } = chatState(client, 'c')
  fake.emit('bot_message', { id: '1', status: 'streaming', at: 0, text: 'a' })
  t.equal(chatState(client, 'c').presence, presence)
  t.not(chatState(client, 'c').botMessages, botMessages)
  remove()
})

t.test('a typing indicator expires by itself', async (t) => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  t.teardown(() => mock.timers.reset())
  const { fake, client } = start()
  const users = (): string[] => chatState(client, 'c').typing.map(({ user }) => user)
  const remove = subscribeToChat(client, 'c', () => {})
  fake.emit('typing', { user: 'ann', expiresInMs: 1_000 })
  mock.timers.tick(500)
  fake.emit('typing', { user: 'bob', expiresInMs: 1_000 })
  t.same(users(), ['ann', 'bob'])
  mock.timers.tick(500)
  t.same(users(), ['bob'])
  mock.timers.tick(500)
  t.same(users(), [])
  remove()
})

t.test('the oldest bot message is dropped', async (t) => {
  const { fake, client } = start()
  const remove = subscribeToChat(client, 'c', () => {})
  for (let n = 1; n <= 257; n++) fake.emit('bot_message', { id: `${n}`, status: 'finished', at: 0, text: '' })
  const ids = chatState(client, 'c').botMessages.map(({ id }) => id)
  t.same([ids.length, ids[0], ids.at(-1)], [256, '2', '257'])
  remove()
})
