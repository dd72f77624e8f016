import t, { type Test } from 'tap'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import type { FastifyRequest } from 'fastify'
import type { AccessGrant, BotMessage, LocalPubSub, StateStore } from '../../../lib/index.ts'
import { HeldAuthorize } from '../../support/held-authorize.ts'
import { inTime } from '../../support/in-time.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { setups, type Setup } from './setups.ts'
import { open, type Side } from './sides.ts'

t.beforeEach(nothingUnhandled)

const inOneProcess = setups['in one process'] as Setup
const byHeader = ({ headers }: FastifyRequest): AccessGrant => ({ userId: String(headers['x-user'] ?? 'ada') })

/** More than the buffers of the system take. */
const TEXT = 'x'.repeat(7_500_000)

async function write (side: Side, content = TEXT): Promise<void> {
  const botMessage = await side.app.chatEvents.startBotMessage('c', { id: 'm' })
  await botMessage.append(content)
  await botMessage.finish()
}

/** Begins a download that is read when the test says so, with the socket of the server. Closed with the test. */
async function begin (
  t: Test, { app, url }: Side, user = 'ada'
): Promise<{ response: IncomingMessage, socket: Socket }> {
  const accepted = once(app.server, 'connection') as Promise<[Socket]>
  const request = get(`${url}/api/chats/c/bot-messages/m`, { agent: false, headers: { 'x-user': user } })
  t.teardown(() => request.destroy())
  const [response] = await inTime(once(request, 'response'), 'The response') as [IncomingMessage]
  return { response: response.pause(), socket: (await accepted)[0] }
}

/** The download is cut, and what was on its way is no clean end. */
async function isCut (t: Test, { response, socket }: Awaited<ReturnType<typeof begin>>): Promise<void> {
  if (!socket.closed) await inTime(once(socket, 'close'), 'The cut')
  await t.rejects(textOf(response), { code: 'ECONNRESET' })
}

const isWhole = async (response: IncomingMessage): Promise<boolean> =>
  (JSON.parse(await textOf(response)) as BotMessage).text === TEXT

for (const [name, setup] of Object.entries(setups)) {
  t.test(`${name}, a revocation cuts the downloads of the user, and of no other`, async (t) => {
    const { one, two } = await setup(t, { authorize: byHeader })
    await write(one)
    const [ada, bob] = [await begin(t, two), await begin(t, two, 'bob')]
    await one.app.chatEvents.revoke('other', 'ada')
    await one.app.chatEvents.revoke('c', 'ada')
    await isCut(t, ada)
    t.equal(await isWhole(bob.response), true)
  })
}

t.test('access that expires cuts a download', async (t) => {
  const { one } = await inOneProcess(t, { authorize: () => ({ expiresAt: Date.now() + 1_500 }) })
  await write(one)
  await isCut(t, await begin(t, one))
})

t.test('a download whose access is revoked before it is sent gets nothing', async (t) => {
  const { one } = await inOneProcess(t, { authorize: byHeader })
  await write(one, 'secret')
  const { state } = one.app.pubsub as LocalPubSub & { state: StateStore } // It has history.
  const readDraft = state.readDraft.bind(state)
  state.readDraft = async (...args) => {
    await one.app.chatEvents.revoke('c', 'ada')
    return await readDraft(...args)
  }
  await t.rejects(fetch(`${one.url}/api/chats/c/bot-messages/m`), TypeError)
  t.equal((await fetch(`${one.url}/api/chats/c/bot-messages/m`, { headers: { 'x-user': 'bob' } })).status, 200)
})

for (const [code, limit] of Object.entries({
  RT_TOO_MANY_CONNECTIONS: { maxConnections: 1 }, RT_TOO_MANY_PER_CLIENT: { maxConnectionsPerClient: 1 }
})) {
  t.test(`${code}: downloads are limited as streams are, but apart from them`, async (t) => {
    const { one } = await inOneProcess(t, { authorize: byHeader, ...limit })
    await write(one)
    await open(t, one)
    const first = await begin(t, one)
    const again = async (): Promise<Response> => await fetch(`${one.url}/api/chats/c/bot-messages/m`)
    const refused = await again()
    t.equal(refused.status, 503)
    t.match(refused.headers.get('retry-after'), /^\d+$/)
    t.match(await refused.json(), { code })
    const ofBob = await fetch(`${one.url}/api/chats/c/bot-messages/m`, { headers: { 'x-user': 'bob' } })
    t.equal(ofBob.status, code === 'RT_TOO_MANY_PER_CLIENT' ? 200 : 503)
    await ofBob.body?.cancel()
    t.equal(await isWhole(first.response), true)
    await until(async () => {
      const { status, body } = await again()
      await body?.cancel()
      return status
    }, (status) => status === 200)
  })
}

t.test('a client that disconnects while its access is checked counts no longer', async (t) => {
  const held = new HeldAuthorize()
  const { one } = await inOneProcess(t, { authorize: held.authorize, maxConnectionsPerClient: 1 })
  await write(one, 'text')
  const url = `${one.url}/api/chats/c/bot-messages/m`
  const called = held.nextCall()
  const leaving = get(url).on('error', () => {})
  const [socket] = await once(one.app.server, 'connection')
  await called
  leaving.destroy()
  await once(socket, 'close')
  held.resolve({ userId: 'ada' })
  for (const n of [1, 2]) {
    const asked = held.nextCall()
    const response = fetch(url)
    await asked
    held.resolve({ userId: 'ada' })
    t.match(await (await response).json(), { text: 'text' }, `download ${n}`)
  }
})
