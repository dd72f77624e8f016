import t from 'tap'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { realtimeChatTransport } from '../../../lib/ai/client/index.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { setups } from '../bot-messages/setups.ts'
import { Page } from '../client/page.ts'
import { ask, open, rest, setup, Source, start, stream, text, unused, type Opened } from './transport.ts'

t.beforeEach(nothingUnhandled)

t.test('a page that leaves no longer follows the bot message, which goes on', async (t) => {
  const { one } = await setup(t)
  const source = new Source(start)
  const controller = new AbortController()
  const { transport, stopped, page } = open(t, one, () => stream(one, source, 'm'))
  const chunks = await ask(transport, controller.signal)
  controller.abort()
  await t.rejects(rest(chunks), { name: 'AbortError' })
  t.same(stopped, [])
  t.equal(source.aborted, false)
  await page.is('idle')
  await t.rejects(ask(transport, controller.signal), { name: 'AbortError' })
  const silent = realtimeChatTransport({ client: page.client, send: async () => ({ id: 'm' }) })
  const again = new AbortController()
  const followed = await ask(silent as Opened['transport'], again.signal)
  again.abort()
  await t.rejects(rest(followed), { name: 'AbortError' })
  const reading = (await transport.reconnectToStream({ chatId: 'c' }))?.getReader()
  t.match(await reading?.read(), { value: start })
  await reading?.cancel()
  await page.is('idle')
})

for (const order of ['stops, then leaves', 'leaves, then stops']) {
  t.test(`an answer that has no id yet is stopped as soon as it has one: the page ${order}`, async (t) => {
    const { one } = await setup(t)
    const sending = new AbortController()
    let answer = (): void => {}
    const answered = new Promise<void>((resolve) => { answer = resolve })
    const id = randomUUID()
    const { transport, stopped } = open(t, one, async () => {
      sending.abort()
      await answered
      const sent = await stream(one, new Source(), id)
      // The answer to another user is newer.
      await stream(one, new Source(), `after ${id}`)
      return sent
    })
    const leaving = new AbortController()
    const asked = ask(transport, leaving.signal)
    await once(sending.signal, 'abort')
    const leave = async (): Promise<void> => {
      leaving.abort()
      await t.rejects(asked, { name: 'AbortError' })
    }
    if (order === 'leaves, then stops') await leave()
    const stopping = transport.stop('c')
    if (order === 'stops, then leaves') await leave()
    t.same(stopped, [])
    answer()
    await stopping
    t.same(stopped, [{ chatId: 'c', id }])
    t.equal((await one.app.chatEvents.getBotMessage('c', id))?.status, 'stopped')
    await transport.stop('c')
    t.same(stopped[1], { chatId: 'c' }, 'it streams none any more')
  })
}

t.test('a page that does not stream the answer in progress can stop it, too', async (t) => {
  const { one } = await setup(t)
  const chunks = await ask(open(t, one, () => stream(one, new Source(start), 'm')).transport)
  const { transport, stopped } = open(t, one, async () => { throw new Error('offline') })
  const asked = ask(transport)
  const stopping = transport.stop('c')
  await t.rejects(asked, { message: 'offline' })
  await stopping
  t.same(stopped, [{ chatId: 'c' }])
  t.same(await rest(chunks), [start, { type: 'abort' }])
})

t.test('of several answers, the one that the page streams last is stopped', async (t) => {
  const { one } = await setup(t)
  const ids = ['first', 'last']
  const ending = new Source(start)
  const { transport, stopped } = open(t, one, () => {
    const id = ids.shift()
    return stream(one, id === 'first' ? ending : new Source(start), id)
  })
  const first = await ask(transport)
  const last = await ask(transport)
  ending.close()
  t.same(await rest(first), [start])
  await transport.stop('c')
  t.same(await rest(last), [start, { type: 'abort' }])
  await transport.stop('c')
  t.same(stopped, [{ chatId: 'c', id: 'last' }, { chatId: 'c' }], 'it streams none any more')
})

t.test('a user learns that an answer could not be stopped', async (t) => {
  const { one } = await setup(t)
  const { client } = new Page(t, one.url)
  const failing: [RegExp, (() => Promise<unknown>)?][] = [
    [/Pass the option `stop`/],
    [/offline/, async () => { throw new Error('offline') }],
    [/Sign in first/, async () => new Response('Sign in first', { status: 401 })]
  ]
  for (const [message, stop] of failing) {
    const transport = realtimeChatTransport({ client, send: unused, ...stop && { stop } })
    await t.rejects(transport.stop('c'), { message })
  }
})

/** What the tests use of `AbstractChat` of the AI SDK, which `useChat` wraps. */
interface Chat {
  status: string
  error: Error | undefined
  messages: { parts: { text?: string }[] }[]
  sendMessage (message: { text: string }): Promise<void>
  resumeStream (): Promise<void>
  stop (): Promise<void>
}

/** A chat of a version of the AI SDK, as on a page. */
async function chatOf (version: string, { transport }: Opened): Promise<Chat> {
  const { AbstractChat } = await import(version) as { AbstractChat: new (options: object) => Chat }
  const state = {
    status: 'ready',
    error: undefined,
    messages: [] as unknown[],
    pushMessage: (message: unknown) => { state.messages.push(message) },
    replaceMessage: (index: number, message: unknown) => { state.messages[index] = message },
    snapshot: structuredClone
  }
  return new class extends AbstractChat {}({ id: 'c', state, transport })
}

for (const version of ['ai5', 'ai6', 'ai7']) {
  t.test(`${version}, any tab can stop an answer, and none does so when it is closed or reloaded`, async (t) => {
    const { one, two } = await (setups['over Redis'] as NonNullable<typeof setups[string]>)(t)
    for (const presses of ['the tab that asked', 'another tab'] as const) {
      const source = new Source({ type: 'start' }, { type: 'text-start', id: 't' }, text('a'))
      const id = randomUUID()
      const sides = {
        'the tab that asked': open(t, one, () => stream(one, source, id)), 'another tab': open(t, two, unused)
      }
      const asked = await chatOf(version, sides['the tab that asked'])
      const other = await chatOf(version, sides['another tab'])
      const answered = asked.sendMessage({ text: 'Hi' })
      await until(async () => asked.status, (status) => status === 'streaming')
      // A page that is reloaded, or whose component unmounts in version 7, leaves its stream.
      const left = other.resumeStream()
      await until(async () => other.status, (status) => status === 'streaming')
      await other.stop()
      await left
      const resumed = other.resumeStream()
      await until(async () => other.status, (status) => status === 'streaming')
      source.write(text('b'))
      for (const chat of [asked, other]) {
        await until(async () => chat.messages.at(-1)?.parts.at(-1)?.text, (text) => text === 'ab')
      }
      await sides[presses].transport.stop('c')
      await Promise.all([answered, resumed])
      for (const { status, error } of [asked, other]) t.same([status, error], ['ready', undefined], presses)
      t.equal((await one.app.chatEvents.getBotMessage('c', id))?.status, 'stopped')
      t.ok(source.aborted)
      t.same(sides[presses].stopped, [{ chatId: 'c', id }])
    }
  })
}
