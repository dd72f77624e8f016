import t, { type Test } from 'tap'
import { onBotMessage } from '../../../lib/client/bot-messages.ts'
import type { RealtimeChat, Reset } from '../../../lib/client/index.ts'
import type { ChatEvent } from '../../../lib/event-types.ts'

type Piece = ChatEvent<'bot_message'>
type Given = Partial<Piece> & { at: number }

/** A chat whose server is the test. */
class FakeChat {
  readonly id = 'c'
  readonly closing = new AbortController()
  readonly signal = this.closing.signal
  readonly passed: Piece[] = []
  /** The requests so far, with their paths. */
  readonly paths: string[] = []
  #send: (event: Piece, info: object) => void = () => {}
  #reset: () => void = () => {}
  readonly #requests: { signal: AbortSignal, reply: (response: Response) => void }[] = []
  #asked = (): void => {}

  on (_type: string, handler: (event: Piece, info: object) => void): () => void {
    this.#send = handler
    return () => { this.#send = () => {} }
  }

  onReset (handler: (reset: Reset) => void): () => void {
    this.#reset = () => handler({ reason: 'trimmed', certain: true })
    return () => { this.#reset = () => {} }
  }

  request (path: string, signal: AbortSignal): Promise<Response> {
    this.paths.push(path)
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason))
      this.#requests.push({ signal, reply: resolve })
      this.#asked()
    })
  }

  send (given: Given): void {
    this.#send({ type: 'bot_message', chatId: 'c', id: 'm', status: 'streaming', ...given } as Piece, { id: '1' })
  }

  reset (): void {
    this.#reset()
  }

  /** Answers the oldest request. */
  async answer (body: object, status = 200): Promise<AbortSignal> {
    while (this.#requests.length === 0) await new Promise<void>((resolve) => { this.#asked = resolve })
    const { signal, reply } = this.#requests.shift() as { signal: AbortSignal, reply: (response: Response) => void }
    reply(Response.json(body, { status }))
    return signal
  }

  /** The content that was passed on, by the rule for pieces. */
  get text (): string {
    return this.passed.reduce((text, piece) => text.slice(0, piece.at) + piece.text, '')
  }

  /** Resolves once `count` pieces were passed on. */
  async pieces (count: number): Promise<void> {
    while (this.passed.length < count) await new Promise<void>((resolve) => { this.#onPass = resolve })
  }

  #onPass = (): void => {}

  readonly pass = (event: Piece): void => {
    this.passed.push(event)
    this.#onPass()
  }
}

function open (options?: { signal: AbortSignal }): { chat: FakeChat, remove: () => void } {
  const chat = new FakeChat()
  return { chat, remove: onBotMessage(chat as unknown as RealtimeChat, chat.pass, options) }
}

t.test('pieces without a gap are passed on at once and unchanged', (t) => {
  const { chat } = open()
  const meta = { bot: 'b' }
  chat.send({ at: 0, text: 'ab', meta })
  chat.send({ at: 2, text: 'c', meta })
  chat.send({ at: 1, text: 'BC', meta, status: 'finished' })
  t.match(chat.passed, [{ at: 0, text: 'ab', meta }, { at: 2, text: 'c' }, { at: 1, text: 'BC', status: 'finished' }])
  t.same(chat.paths, [])
  t.end()
})

t.test('a piece beyond the content waits for the rest, and later ones with it', async (t) => {
  const { chat } = open()
  chat.send({ at: 0, text: 'ab' })
  chat.send({ at: 5, text: 'f' })
  chat.send({ at: 6, text: 'gh' })
  chat.send({ at: 8, text: '', status: 'finished', extra: { n: 1 } })
  t.equal(chat.passed.length, 1)
  t.same(chat.paths, ['/bot-messages/m?at=2'])
  await chat.answer({ status: 'streaming', meta: { bot: 'b' }, at: 2, text: 'cdefg' })
  await chat.pieces(4)
  t.same(chat.passed[1], {
    type: 'bot_message', chatId: 'c', id: 'm', status: 'streaming', meta: { bot: 'b' }, at: 2, text: 'cdefg'
  })
  t.match(chat.passed.slice(2), [{ at: 6, text: 'gh' }, { at: 8, status: 'finished', extra: { n: 1 } }])
  t.equal(chat.text, 'abcdefgh')
})

t.test('chunks are requested like text', async (t) => {
  const { chat } = open()
  chat.send({ at: 2, chunks: [{ n: 2 }] })
  await chat.answer({ status: 'streaming', at: 0, chunks: [{ n: 0 }, { n: 1 }, { n: 2 }] })
  await chat.pieces(1)
  t.same(chat.passed.map(({ at, text, chunks }) => [at, text, chunks?.length]), [[0, undefined, 3]])
})

t.test('a piece that the server cannot precede is passed on as it is', async (t) => {
  const answers: [object, number][] = [
    [{}, 404], [{}, 403], [[], 200], [{ status: 'streaming', at: 0, text: '' }, 200]
  ]
  for (const [body, status] of answers) {
    const { chat } = open()
    chat.send({ at: 3, text: 'd' })
    chat.send({ at: 4, text: 'e' })
    await chat.answer(body, status)
    await chat.pieces(2)
    t.same(chat.passed.map(({ at, text }) => [at, text]), [[3, 'd'], [4, 'e']], `${status}`)
  }
})

t.test('a request is repeated until the server answers', async (t) => {
  const { chat } = open()
  chat.send({ at: 1, text: 'b' })
  const wait = global.setTimeout
  t.teardown(() => { global.setTimeout = wait })
  const waits: number[] = []
  // The waits between two attempts take no time.
  global.setTimeout = ((act: () => void, ms: number) => {
    waits.push(ms)
    return wait(act, ms < 45_000 ? 0 : ms)
  }) as typeof setTimeout
  for (const status of [500, 429]) t.equal((await chat.answer({}, status)).aborted, false)
  await chat.answer({ status: 'streaming', at: 0, text: 'ab' })
  await chat.pieces(1)
  t.equal(chat.text, 'ab')
  t.equal(chat.paths.length, 3)
  const [first = 0, second = 0] = waits.filter((ms) => ms < 45_000)
  t.ok(first >= 2_000 && second >= 4_000, `the waits grow: ${first}, ${second}`)
})

t.test('pieces that were dropped while a request takes long are requested', async (t) => {
  const { chat } = open()
  const large = 'x'.repeat(600_000)
  chat.send({ at: 1, text: large })
  chat.send({ at: 600_001, text: large })
  chat.send({ at: 1_200_001, text: large })
  await chat.answer({ status: 'streaming', at: 0, text: `a${large}` })
  await chat.answer({ status: 'streaming', at: 600_001, text: large })
  await chat.pieces(3)
  t.same(chat.paths, ['/bot-messages/m?at=0', '/bot-messages/m?at=600001'])
  t.equal(chat.text, `a${large}${large}${large}`)
})

t.test('after a reset the end of each bot message is found out', async (t) => {
  for (const content of [{ text: 'ab' }, { chunks: [{ n: 1 }, { n: 2 }] }]) {
    const { chat } = open()
    const none = 'text' in content ? { text: '' } : { chunks: [] }
    chat.send({ at: 0, ...content })
    chat.reset()
    t.same(chat.paths, ['/bot-messages/m?at=2'])
    chat.reset()
    t.equal(chat.paths.length, 1, 'one request at a time')
    await chat.answer({ status: 'failed', at: 2, ...none, meta: { bot: 'b' }, extra: { n: 1 }, error: 'Busy' })
    await chat.pieces(2)
    const end = { at: 2, ...none, meta: { bot: 'b' }, extra: { n: 1 }, error: 'Busy' }
    t.same(chat.passed[1], { type: 'bot_message', chatId: 'c', id: 'm', status: 'failed', ...end })
    chat.send({ at: 2, ...none, status: 'failed' })
    t.equal(chat.passed.length, 2, 'the end is passed on once')
    chat.reset()
    t.equal(chat.paths.length, 1, 'a bot message that has ended is not requested')
    chat.send({ at: 0, ...content })
    t.equal(chat.passed.length, 3, 'a bot message that begins again is passed on')
  }
})

t.test('after a reset the rest and the end are found out at once', async (t) => {
  const { chat } = open()
  chat.send({ at: 0, text: 'ab' })
  chat.reset()
  await chat.answer({ status: 'finished', at: 2, text: 'cd' })
  await chat.pieces(3)
  t.equal(chat.text, 'abcd')
  t.match(chat.passed[2], { status: 'finished', at: 4, text: '' })
})

t.test('a bot message that is gone after a reset is interrupted; one in progress goes on', async (t) => {
  const { chat } = open()
  chat.send({ at: 0, text: 'ab' })
  chat.reset()
  await chat.answer({ status: 'streaming', at: 2, text: 'cd' })
  await chat.pieces(2)
  chat.reset()
  chat.send({ at: 4, text: 'e' })
  await chat.answer({}, 404)
  await chat.pieces(3)
  t.equal(chat.text, 'abcde', 'a piece that has arrived meanwhile shows that it goes on')
  chat.reset()
  await chat.answer({}, 404)
  await chat.pieces(4)
  t.match(chat.passed[3], { status: 'interrupted', at: 5, text: '' })
})

t.test('a server that refuses after a reset changes nothing', async (t) => {
  const { chat } = open()
  chat.send({ at: 0, text: 'ab' })
  chat.reset()
  await chat.answer({}, 403)
  await new Promise(setImmediate)
  chat.send({ at: 2, text: 'c' })
  t.equal(chat.text, 'abc')
})

t.test('the oldest of many bot messages is forgotten', (t) => {
  const { chat } = open()
  for (let n = 0; n <= 256; n++) chat.send({ id: `m${n}`, at: 0, text: 'a' })
  chat.reset()
  t.equal(chat.paths.length, 256)
  t.notOk(chat.paths.includes('/bot-messages/m0?at=1'))
  chat.closing.abort()
  t.end()
})

t.test('a bot message that is forgotten while its rest is requested is passed on as it is', async (t) => {
  const { chat } = open()
  chat.send({ id: 'm', at: 1, text: 'b' })
  chat.send({ id: 'm', at: 2, text: '', status: 'finished' })
  for (let n = 1; n <= 256; n++) chat.send({ id: `m${n}`, at: 0, text: 'a' })
  t.match(chat.passed.slice(-3, -1), [{ id: 'm', at: 1, text: 'b' }, { id: 'm', at: 2, status: 'finished' }])
  const { aborted } = await chat.answer({ status: 'finished', at: 0, text: 'ab' })
  t.ok(aborted, 'the request ends')
  await new Promise(setImmediate)
  t.equal(chat.passed.length, 258)
  chat.send({ id: 'm', at: 3, text: 'd' })
  await chat.answer({ status: 'streaming', at: 0, text: 'abcd' })
  await chat.pieces(259)
  t.match(chat.passed.at(-1), { id: 'm', at: 0, text: 'abcd' })
})

t.test('nothing is passed on or requested after the handler was removed', async (t: Test) => {
  const signal = new AbortController()
  const removals: ((opened: ReturnType<typeof open>) => void)[] = [
    ({ remove }) => remove(), () => signal.abort(), ({ chat }) => chat.closing.abort()
  ]
  for (const remove of removals) {
    const opened = open({ signal: signal.signal.aborted ? new AbortController().signal : signal.signal })
    const { chat } = opened
    chat.send({ at: 1, text: 'b' })
    remove(opened)
    const answered = await chat.answer({ status: 'streaming', at: 0, text: 'ab' })
    t.ok(answered.aborted)
    chat.send({ at: 0, text: 'ab' })
    chat.reset()
    await new Promise(setImmediate)
    t.same(chat.passed, [])
    t.equal(chat.paths.length, 1)
  }
})

t.test('a wait for the next attempt ends with the handler', async (t) => {
  const { chat, remove } = open()
  chat.send({ at: 1, text: 'b' })
  const started = t.capture(globalThis, 'setTimeout', setTimeout)
  const cleared = t.capture(globalThis, 'clearTimeout', clearTimeout)
  await chat.answer({}, 500)
  await new Promise(setImmediate)
  remove()
  const timers = cleared().map(({ args: [timer] }) => timer)
  t.ok(started().some((call) => 'returned' in call && timers.includes(call.returned)))
  t.equal(chat.paths.length, 1)
})
