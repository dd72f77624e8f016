import t, { type Test } from 'tap'
import { onBotMessage, type BotMessageHandler } from '../../../lib/client/bot-messages.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { setups, type Setup } from '../bot-messages/setups.ts'
import { Page } from './page.ts'

type Piece = Parameters<BotMessageHandler>[0]

interface Reader {
  ended: Promise<{ text: string, pieces: Piece[] }>
  reaches (length: number): Promise<void>
}

/** Reads one bot message of the chat `c`. Resolves with its content, and with all its pieces, once it has ended. */
function read (t: Test, url: string): Reader {
  const page = new Page(t, url, { headers: { authorization: 'yes' } })
  const chat = page.client.chat('c')
  const pieces: Piece[] = []
  let text = ''
  let check = (): void => {}
  const reached = async (done: () => boolean): Promise<void> => {
    await new Promise<void>((resolve) => {
      const before = check
      check = () => { before(); if (done()) resolve() }
      check()
    })
  }
  onBotMessage(chat, (event) => {
    pieces.push(event)
    t.ok(event.at <= text.length, 'a piece never begins beyond the content')
    text = text.slice(0, event.at) + event.text
    check()
  })
  const ended = reached(() => pieces.at(-1)?.status === 'finished').then(() => ({ text, pieces }))
  return { ended, reaches: (length) => reached(() => text.length >= length) }
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(`${name}, a late client requests what it has missed of a long bot message`, async (t) => {
    nothingUnhandled(t)
    const { one, two } = await setup(t, { authorize: ({ headers }) => headers.authorization === 'yes' })
    const early = read(t, two.url)
    const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a/b', meta: { bot: 'b' } })
    let text = ''
    const append = async (n: number): Promise<void> => {
      const next = `${n}é😀\n`.repeat(20_000)
      text += next
      await botMessage.append(next)
    }
    await append(1)
    await append(2)
    await early.reaches(text.length)
    const late = read(t, two.url)
    await late.reaches(text.length)
    await append(3)
    await botMessage.finish({ tokens: 9 })
    for (const reader of [early, late]) {
      const { text: received, pieces } = await reader.ended
      t.ok(received === text, 'the content is whole')
      t.match(pieces.at(-1), { status: 'finished', meta: { bot: 'b' }, extra: { tokens: 9 } })
    }
  })
}

t.test('a chat is ready once no later event can be missed, and requests go to the server of the client', async (t) => {
  nothingUnhandled(t)
  const { one } = await (setups['in one process'] as Setup)(t)
  const page = new Page(t, one.url, { headers: () => ({ 'x-name': 'a' }) })
  const chat = page.client.chat('c')
  const received = new Promise((resolve) => chat.on('message', resolve))
  await chat.ready
  await one.app.chatEvents.emitChatMessage('c', { n: 1 })
  t.match(await received, { message: { n: 1 } })
  const response = await chat.request('/bot-messages/none', chat.signal)
  t.equal(response.status, 404)
  chat.close()
  await t.rejects(chat.request('/bot-messages/none', chat.signal))
  const hanging = new Page(t, one.url, { headers: () => new Promise<never>(() => {}) }).client.chat('c')
  const request = hanging.request('/stream', hanging.signal)
  hanging.close()
  await t.rejects(request)
})
