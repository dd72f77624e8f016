import t, { type Test } from 'tap'
import { readFile } from 'node:fs/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import realtimePlugin from '../../lib/index.ts'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { RedisServer } from '../support/redis-server.ts'

// Browsers that start take their time on a busy machine.
t.setTimeout(180_000)

const key = await readFile(new URL('../support/tls/key.pem', import.meta.url))
const cert = await readFile(new URL('../support/tls/cert.pem', import.meta.url))

/** More than the six connections of HTTP/1.1. */
const STREAMS = 10

const PAGE = `<!doctype html><title>streams</title><script>
  window.streams = Array.from({ length: ${STREAMS} }, (_, n) => {
    const stream = { seen: [], resumed: [], resets: 0, source: new EventSource('/api/chats/' + n + '/events') }
    stream.source.addEventListener('ready', ({ data }) => stream.resumed.push(JSON.parse(data).resumed))
    stream.source.addEventListener('message', ({ data }) => stream.seen.push(JSON.parse(data).message.n))
    stream.source.addEventListener('reset', () => stream.resets++)
    return stream
  })
</script>`

async function start (t: Test, port: number, redisUrl: string, instanceId: string): Promise<FastifyInstance> {
  const app = Fastify({ http2: true, https: { key, cert } }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(realtimePlugin, { redisUrl, instanceId, retryMs: 200 })
  app.get('/', async (_request, reply) => reply.type('text/html').send(PAGE))
  await app.listen({ port, host: '127.0.0.1' })
  return app
}

t.test('a browser resumes over HTTP/2 on another instance after a drain', { skip: skipWithoutChromium }, async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const browser = await launchChromium(t)
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage()
  const port = await freePort()
  const all = (expression: string): Promise<unknown> => page.waitForFunction(`streams.every((stream) => ${expression})`)
  const tell = async (app: FastifyInstance, n: number): Promise<unknown> =>
    await Promise.all(Array.from({ length: STREAMS }, (_, chat) => app.chatEvents.emitChatMessage(`${chat}`, { n })))

  const before = await start(t, port, redis.url, 'before')
  await page.goto(`https://127.0.0.1:${port}/`)
  await all('stream.resumed.length === 1')
  t.equal(await page.evaluate('performance.getEntriesByType("navigation")[0].nextHopProtocol'), 'h2')
  await tell(before, 1)
  await all('stream.seen.length === 1')

  // The last of them while the instance closes.
  await tell(before, 2)
  await before.close()
  await all('stream.source.readyState === EventSource.CONNECTING')
  const after = await start(t, port, redis.url, 'after')
  await tell(after, 3)
  await all('stream.resumed.length === 2 && stream.seen.length === 3')
  await tell(after, 4)
  await all('stream.seen.length === 4')
  t.same(
    await page.evaluate('streams.map(({ seen, resumed, resets }) => ({ seen, resumed, resets }))'),
    Array.from({ length: STREAMS }, () => ({ seen: [1, 2, 3, 4], resumed: [false, true], resets: 0 }))
  )
})
