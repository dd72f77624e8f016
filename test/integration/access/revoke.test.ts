import t, { type Test } from 'tap'
import { once } from 'node:events'
import http from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { AccessGrant, RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { HeldAuthorize } from '../../support/held-authorize.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { open } from './open.ts'

async function twoInstances (t: Test, options: RealtimeOptions): Promise<{
  url: string, app: Awaited<ReturnType<typeof startApp>>['app']
}[]> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  return [
    await startApp(t, { ...options, redisUrl: redis.url }),
    await startApp(t, { ...options, redisUrl: redis.url, instanceId: 'other' })
  ]
}

t.test('revoking a user\'s access to a chat ends exactly that user\'s streams of it, on every instance', async (t) => {
  const allowed = new Set(['ada', 'bob'])
  const authorize = ({ headers: { authorization: userId = '' } }: FastifyRequest): AccessGrant | false => {
    return allowed.has(userId) && { userId }
  }
  const instances = await twoInstances(t, { authorize })
  const streams = await Promise.all(instances.flatMap(({ url }) => ['ada', 'bob'].map(async (user) => {
    const stream = await EventStream.open(t, `${url}/api/chats/c/events`, { headers: { authorization: user } })
    const elsewhere = await EventStream.open(t, `${url}/api/chats/d/events`, { headers: { authorization: user } })
    await stream.next()
    await elsewhere.next()
    return { user, url, stream, elsewhere }
  })))
  allowed.delete('ada')
  const [first] = instances as [typeof instances[number]]
  await first.app.chatEvents.revoke('c', 'ada')
  await first.app.chatEvents.emitChatMessage('c', { n: 1 })
  await first.app.chatEvents.emitChatMessage('d', { n: 2 })
  for (const { user, url, stream, elsewhere } of streams) {
    t.match(await elsewhere.next(), { data: { message: { n: 2 } } })
    if (user === 'bob') t.match(await stream.next(), { data: { message: { n: 1 } } })
    else t.same((await stream.end()).filter(({ event }) => event === 'reset'), [])
    if (user === 'ada') t.equal((await open(url, 'c', { authorization: user })).status, 403)
  }
  await t.rejects(first.app.chatEvents.revoke('c', ''), { code: 'RT_USER_ID_INVALID', message: /^A user id must be/ })
  await t.rejects(first.app.chatEvents.revoke('', 'ada'), { code: 'RT_CHAT_ID_INVALID' })
})

t.test('the connection of an ended stream serves its client\'s next request, even one already sent', async (t) => {
  const authorize = ({ query }: FastifyRequest): AccessGrant => {
    const { userId, until } = query as { userId?: string, until?: string }
    return { expiresAt: until === undefined ? Infinity : Number(until), ...userId !== undefined && { userId } }
  }
  const started = await startApp(t, { authorize, maxConnections: 2, maxConnectionAgeMs: 10_000, retryMs: 1 })
  const { app } = started
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const get = async (path: string): Promise<{ reused: boolean, response: http.IncomingMessage }> => {
    const request = http.get(`${started.url}${path}`, { agent, headers: { accept: 'text/event-stream' } })
    const [response] = await once(request, 'response') as [http.IncomingMessage]
    return { reused: request.reusedSocket, response: response.setEncoding('utf8') }
  }
  const { response: revoked } = await get('/api/chats/c/events?userId=ada')
  await once(revoked, 'data')
  const ended = once(revoked.resume(), 'end')
  await app.chatEvents.revoke('c', 'ada')
  await ended
  const expiring = await get(`/api/chats/c/events?userId=ada&until=${Date.now() + 300}`)
  t.ok(expiring.reused, 'after its access was revoked')
  await once(expiring.response.resume(), 'end')
  for (let n = 0; n < 2; n++) await (await EventStream.open(t, `${started.url}/api/chats/c/events`)).next()
  const shed = await get('/api/chats/c/events')
  t.ok(shed.reused, 'after it has expired')
  t.equal(shed.response.statusCode, 200)
  await once(shed.response.resume(), 'end')
  const last = await get('/api/health/pubsub')
  t.ok(last.reused, 'after there were too many')
  last.response.resume()
})

t.test('access that is revoked during authorize is not granted', async (t) => {
  const held = new HeldAuthorize()
  const { app, url } = await startApp(t, { authorize: held.authorize })
  const called = held.nextCall()
  const opening = open(url)
  await called
  await app.chatEvents.revoke('other', 'ada')
  await app.chatEvents.revoke('c', 'ada')
  held.resolve({ userId: 'ada' })
  t.equal((await opening).status, 403)
})
