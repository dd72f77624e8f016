import t from 'tap'
import { RealtimeError } from '../../../lib/index.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { setups } from './setups.ts'
import { type Side, open } from './sides.ts'

t.beforeEach(nothingUnhandled)

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('the first piece is sent at once, and the pieces within a window as one', async (t) => {
      const { one, two } = await setup(t, { botMessageWindowMs: 100 })
      const { stream, reader } = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c')
      for (let n = 0; n < 100; n++) botMessage.append(`${n} `)
      const text = Array.from({ length: 100 }, (_, n) => `${n} `).join('')
      await reader.text(stream, botMessage.id, text)
      t.same(reader.pieces.map(({ text }) => text).filter(Boolean), ['0 ', text.slice(2)])
      await botMessage.finish()
    })

    t.test('what is appended within a window that the end cuts short is written with the end only', async (t) => {
      const { one, two } = await setup(t, { botMessageWindowMs: 60_000 })
      const { stream, reader } = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c')
      await botMessage.append('a piece')
      await reader.text(stream, botMessage.id, 'a piece')
      await botMessage.append(', never written as a piece')
      await botMessage.finish()
      t.equal((await reader.end(stream)).text, 'a piece, never written as a piece')
      t.same(reader.pieces.map(({ text }) => text).filter(Boolean), ['a piece'])
    })

    t.test('a piece never ends in the middle of a character', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c')
      await botMessage.append('a\ud83d')
      await reader.text(stream, botMessage.id, 'a')
      await botMessage.append('\ude00b')
      await reader.text(stream, botMessage.id, 'a😀b')
      await botMessage.append('\ud83d')
      await botMessage.finish()
      t.equal((await reader.end(stream)).text, 'a😀b\ud83d')
    })

    t.test('a bot message takes at most `maxBotMessageBytes`, and can be finished then', async (t) => {
      const { one, two } = await setup(t, { maxBotMessageBytes: 120, maxPayloadBytes: 300 })
      const { stream, reader } = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
      let text = ''
      for (let tooLong = false; !tooLong;) {
        await botMessage.append('"é').then(() => { text += '"é' }, (error) => {
          tooLong = (error as RealtimeError).code === 'RT_BOT_MESSAGE_TOO_LARGE'
        })
      }
      await t.rejects(botMessage.finish({ much: 'x'.repeat(300) }), { code: 'RT_PAYLOAD_TOO_LARGE' })
      await t.rejects(botMessage.finish({ n: 1n }), { code: 'RT_PAYLOAD_INVALID' })
      t.same(await botMessage.finish(), { status: 'finished' })
      const end = await reader.end(stream)
      t.equal(end.text, text)
      t.equal(Buffer.byteLength(text), 120)
    })
  })
}

t.test('a bot message that is too long with its final fields continues unchanged', async (t) => {
  const { one, two } = await setups['over Redis']?.(t, { botMessageWindowMs: 300 }) as { one: Side, two: Side }
  const { stream, reader } = await open(t, two)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  botMessage.append('Once')
  await reader.text(stream, botMessage.id, 'Once')
  botMessage.append(' upon a time')
  await t.rejects(botMessage.finish({ much: 'x'.repeat(100_000) } as object), { code: 'RT_PAYLOAD_TOO_LARGE' })
  await reader.text(stream, botMessage.id, 'Once upon a time')
  await botMessage.finish()
})
