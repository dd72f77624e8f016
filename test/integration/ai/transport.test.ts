import t from 'tap'
import { onUIMessage } from '../../../lib/ai/client/index.ts'
import { streamUIMessage, type UIChunk } from '../../../lib/ai/index.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { setups } from '../bot-messages/setups.ts'
import { dropAll, Page } from '../client/page.ts'
import { ask, finish, open, rest, setup, Source, start, stream, text, unused } from './transport.ts'

t.beforeEach(nothingUnhandled)

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('the page that asks, and one that resumes on another instance, get all chunks', async (t) => {
      const { one, two } = await setup(t, { retryMs: 1 })
      const source = new Source(start, text('a'))
      const other = open(t, two, unused)
      t.equal(await other.transport.reconnectToStream({ chatId: 'c' }), null, 'nothing is in progress')
      const asked = await ask(open(t, one, () => stream(one, source)).transport)
      // A second bot message of another kind does not disturb.
      const second = await one.app.chatEvents.startBotMessage('c', { format: 'chunks' })
      await second.append({ n: 1 })
      const resumed = await other.transport.reconnectToStream({ chatId: 'c' })
      source.write(text('b'))
      dropAll(two.app)
      await second.append({ n: 2 })
      await second.finish()
      source.write(finish)
      source.close()
      for (const chunks of [asked, resumed]) t.same(await rest(chunks), [start, text('a'), text('b'), finish])
    })

    t.test('of two answers in progress that begin alike, a page resumes the one that was started last', async (t) => {
      const { one, two } = await setup(t)
      const [first, last] = [new Source(start, text('a')), new Source(start, text('b'))]
      await stream(one, first, 'first')
      await stream(one, last, 'the last: ä/%')
      const chunks = await open(t, two, unused).transport.reconnectToStream({ chatId: 'c' })
      first.close()
      last.close()
      t.same(await rest(chunks), [start, text('b')])
    })

    t.test('it ends as the bot message does', async (t) => {
      const { one, two } = await setup(t)
      const error = { type: 'error', errorText: 'Too busy' }
      const endings: Record<string, [(id: string, source: Source) => unknown, UIChunk[]]> = {
        stopped: [() => two.app.chatEvents.stopBotMessage('c'), [{ type: 'abort' }]],
        failed: [(_id, source) => { source.write(error); source.close() }, [error]],
        'not complete': [(_id, source) => { source.write(error, finish); source.close() }, [error, finish]],
        aborted: [(_id, source) => { source.write({ type: 'abort' }); source.close() }, [{ type: 'abort' }]]
      }
      for (const [status, [end, last]] of Object.entries(endings)) {
        const source = new Source(start)
        let id = ''
        const chunks = await ask(open(t, two, async () => {
          const started = await stream(one, source)
          id = started.id
          return started
        }).transport)
        await end(id, source)
        t.same(await rest(chunks), [start, ...last], status)
      }
    })

    t.test('a bot message without chunks has an end, too', async (t) => {
      const { one, two } = await setup(t)
      const { id } = await stream(one, new Source())
      const resuming = open(t, two, unused, {
        fetch: async (...args) => {
          const response = await fetch(...args)
          if (String(args[0]).endsWith('/stream')) await one.app.chatEvents.stopBotMessage('c', id)
          return response
        }
      }).transport.reconnectToStream({ chatId: 'c' })
      t.same(await rest(await resuming), [{ type: 'abort' }])
    })

    t.test('a bot message that has ended before the page asks is read whole', async (t) => {
      const { one, two } = await setup(t)
      const source = new Source(start, text('a'), finish)
      source.close()
      await streamUIMessage(one.app.chatEvents, 'c', source.read, { id: 'm' })
      t.same(await rest(await ask(open(t, two, async () => ({ id: 'm' })).transport)), [start, text('a'), finish])
      const other = open(t, two, async () => ({ id: 'other' }))
      await t.rejects(rest(await ask(other.transport)), { message: 'The server has no UI message "other"' })
      await other.page.is('idle')
    })
  })
}

t.test('the id may come in a response; a response that is none is an error', async (t) => {
  const { one } = await setup(t)
  const source = new Source(start)
  source.close()
  const chunks = await ask(open(t, one, async () => Response.json(await stream(one, source))).transport)
  t.same(await rest(chunks), [start])
  const answers: [() => Promise<unknown>, RegExp][] = [
    [async () => new Response('Sign in first', { status: 401 }), /Sign in first/],
    [async () => new Response(null, { status: 500 }), /answered 500/],
    [async () => Response.json({ no: 'id' }), /`send` must resolve with/],
    [async () => undefined, /`send` must resolve with/],
    [async () => { throw new Error('offline') }, /offline/]
  ]
  for (const [send, message] of answers) {
    const { page, transport } = open(t, one, send as () => Promise<Response>)
    await t.rejects(ask(transport), { message })
    await page.is('idle')
  }
})

t.test('a stream fails when the client is closed, or the chat is refused', async (t) => {
  const authorized = new Set(['c'])
  const { one } = await setup(t, { authorize: (_request, chatId) => authorized.has(chatId) && { userId: 'u' } })
  const source = new Source(start)
  const closed = open(t, one, () => stream(one, source))
  const chunks = await ask(closed.transport)
  closed.page.client.close()
  await t.rejects(rest(chunks), { message: /client is closed/ })
  const revoked = open(t, one, () => stream(one, new Source(start)))
  const other = await ask(revoked.transport)
  authorized.clear()
  await one.app.chatEvents.revoke('c', 'u')
  await t.rejects(rest(other))
  await t.rejects(ask(open(t, one, unused).transport), { message: /not authorized|refused|access/i })
})

t.test('an answer of the server that names no bot message is an error', async (t) => {
  const { one } = await setup(t)
  for (const status of [200, 404]) {
    const { transport } = open(t, one, unused, {
      fetch: async (...args) => {
        return String(args[0]).endsWith('/stream') ? new Response('', { status }) : await fetch(...args)
      }
    })
    const message = `The server answered ${status} without x-bot-message-id`
    await t.rejects(transport.reconnectToStream({ chatId: 'c' }), { message })
  }
})

for (const version of ['ai5', 'ai6', 'ai7']) {
  t.test(`${version}, everyone in the chat sees the UI messages grow`, async (t) => {
    const { readUIMessageStream } = await import(version) as { readUIMessageStream: never }
    const { one, two } = await (setups['over Redis'] as NonNullable<typeof setups[string]>)(t)
    const source = new Source({ type: 'start' }, { type: 'text-start', id: 't' }, text('a'))
    const page = new Page(t, two.url)
    const seen: { message: { id: string, parts: { text?: string }[] }, id: string, status: string }[] = []
    let check = (): void => {}
    const chat = page.client.chat('c')
    const remove = onUIMessage(chat, readUIMessageStream, (message: { id: string, parts: [] }, info) => {
      seen.push(structuredClone({ message, ...info }))
      check()
    })
    const last = async (status: string, content: string): Promise<void> => {
      await new Promise<void>((resolve) => {
        check = () => {
          const { message, status: now } = seen.at(-1) ?? {}
          if (now === status && message?.parts.at(-1)?.text === content) resolve()
        }
        check()
      })
    }
    await chat.ready
    const textMessage = await one.app.chatEvents.startBotMessage('c')
    await textMessage.append('no UI message')
    const chunks = await one.app.chatEvents.startBotMessage('c', { format: 'chunks' })
    await chunks.append({ n: 1 })
    await chunks.append({ n: 2 })
    await stream(one, source, 'm')
    await last('streaming', 'a')
    source.write(text('b'))
    await last('streaming', 'ab')
    source.write({ type: 'text-end', id: 't' }, finish)
    source.close()
    await last('finished', 'ab')
    t.match(seen.at(-1), { id: 'm', status: 'finished', message: { id: 'm', role: 'assistant' } })
    t.ok(seen.every(({ id }) => id === 'm'), 'other bot messages are left out')
    remove()
    const count = seen.length
    await chunks.finish()
    await textMessage.finish()
    t.equal(seen.length, count)
  })
}
