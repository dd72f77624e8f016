import t from 'tap'
import { spawnSync } from 'node:child_process'
import type { StreamEvent } from '../../support/event-stream.ts'
import { ExampleApp, healthy } from '../../support/example-app.ts'
import { startExampleServices } from '../../support/example-services.ts'
import { Document } from '../../support/snippets.ts'
import { until } from '../../support/until.ts'
import { QUICK, post, say, follow, textOf, answer } from './app.ts'

// Processes and browsers start slowly on a busy machine.
t.setTimeout(180_000)

/** Each instance follows them, to store the answers of the bot. */
const ROOMS = 4

t.test('two instances share a Redis', async (t) => {
  const services = await startExampleServices(t)
  const { redis } = services
  const env = { ...QUICK, ...services.env }
  const [one, two] = await Promise.all([
    ExampleApp.start(t, { env: { ...env, BOT_PAUSE_MS: '3600000' } }),
    ExampleApp.start(t, { env: { ...env, INSTANCE_ID: 'chat-2' } })
  ])
  const [atOne, atTwo] = [await follow(t, one, 'general'), await follow(t, two, 'general')]

  await t.test('clients of both get a message that is posted to one', async (t) => {
    const { body: { id } } = await say(two, 'general', '1 + 1')
    for (const stream of [atOne, atTwo]) {
      const events = await stream.take(4)
      t.match(events[0], { data: { message: { id, text: '1 + 1' } } })
      t.equal(textOf(events[2] as StreamEvent), '= 2')
    }
  })

  await t.test('while Redis is down a message is stored, and it is published once Redis is back', async (t) => {
    await redis.kill()
    const { status, body: { id } } = await say(two, 'general', '2 + 2')
    t.equal(status, 202)
    t.equal((await fetch(`${two.url}/api/health/pubsub`)).status, 503)
    t.equal((await fetch(`${two.url}/api/chats/general/messages`)).status, 503, 'the position of the stream is unknown')
    const earlier = await fetch(`${two.url}/api/chats/general/messages?before=999999`)
    t.equal(earlier.status, 200)
    t.strictSame(Object.keys(await earlier.json() as object), ['messages', 'before'])
    await redis.restart()
    for (const stream of [atOne, atTwo]) {
      t.match(
        await stream.next(),
        { event: 'reset', data: { reason: 'epoch', certain: false } },
        'the client learns that events may be missing'
      )
      const events = await stream.take(4)
      t.match(events[0], { data: { message: { id } } }, 'no other message is before it')
      t.equal(textOf(events[2] as StreamEvent), '= 4')
    }
  })

  await t.test('a long answer ends as interrupted when its instance exits', async (t) => {
    const three = await ExampleApp.start(t, { env: { ...env, BOT_WORD_MS: '50' } })
    const reader = await follow(t, two, 'lab')
    await say(three, 'lab', 'tell me a story')
    const { whole } = await answer(reader, 3)
    t.equal(await three.stop(), 0)
    const end = await answer(reader)
    t.match(end, { status: 'interrupted' })
    t.ok(end.text.startsWith(whole))
  })

  await t.test('a pending short answer is given when its instance exits', async (t) => {
    const { body: { id } } = await say(one, 'general', '3 + 3')
    t.match(await atTwo.take(2), [{ data: { message: { id } } }, { data: { action: { actionType: 'thinking' } } }])
    t.equal(await one.stop(), 0)
    t.match(await atTwo.take(2), [{ data: { message: { text: '= 6' } } }, { data: { action: { actionType: 'idle' } } }])
  })
})

t.test('the cluster', async (t) => {
  const cluster = await ExampleApp.start(t, { script: 'cluster.js', env: QUICK })
  const lines = [...cluster.output.matchAll(/^ +chat-\d +(http:\S+) +\(kill (\d+)/gm)]
  const instances = lines.map(([, url, pid]) => ({ url: url as string, pid: Number(pid) }))
  t.equal(instances.length, 3)

  await t.test('the proxy uses each instance in turn, and every stream gets the same events', async (t) => {
    const streams = await Promise.all(instances.map(() => follow(t, cluster, 'general')))
    t.strictSame(
      new Set(streams.map(({ response }) => response.headers.get('x-instance'))),
      new Set(['chat-1', 'chat-2', 'chat-3'])
    )
    const { body: { id } } = await say(cluster, 'general', 'hi')
    for (const stream of streams) t.match(await stream.next(), { data: { message: { id } } })
  })

  await t.test('a client that leaves the proxy leaves the instance', async (t) => {
    const streams = await Promise.all(instances.map(() => follow(t, cluster, 'a-room-of-this-test')))
    for (const instance of instances) await chats(instance, ROOMS + 1)
    for (const stream of streams) stream.close()
    for (const instance of instances) await chats(instance, ROOMS)
  })

  await t.test('an instance that crashes is skipped and restarted', async (t) => {
    const dead = instances[0] as { url: string, pid: number }
    const stream = await follow(t, dead, 'general')
    process.kill(dead.pid, 'SIGKILL')
    await stream.end()
    for (let request = 0; request < 6; request++) t.equal((await say(cluster, 'general', 'still there?')).status, 202)
    await healthy(dead.url)
    await follow(t, dead, 'general')
  })

  await t.test('an instance that is stopped through another one is restarted', async (t) => {
    const { url } = instances[1] as { url: string }
    const stream = await follow(t, { url }, 'general')
    // The proxy passes it to any of them.
    t.equal((await post(`${cluster.url}/api/instance/stop`, { instanceId: 'chat-2' })).status, 202)
    await stream.end()
    await until(async () => await fetch(`${url}/api/health/pubsub`).catch(() => undefined), (response) => {
      return response === undefined
    })
    await healthy(url)
  })

  await t.test('it exits on SIGTERM and leaves nothing behind', async (t) => {
    const stream = await follow(t, cluster, 'general')
    const port = /Redis at port (\d+)/.exec(cluster.output)?.[1]
    t.equal(await cluster.stop(), 0)
    await stream.end()
    for (const { url } of [...instances, { url: `http://127.0.0.1:${port}` }]) {
      await t.rejects(fetch(url), { cause: { code: 'ECONNREFUSED' } })
    }
  })
})

t.test('the commands in the README of the example app work', {
  skip: spawnSync('curl', ['--version']).error !== undefined && 'there is no curl'
}, async (t) => {
  const app = await ExampleApp.start(t, { env: { ...QUICK, RESTARTS: '1' } })
  const blocks = (await Document.read('example-app/README.md')).blocks('sh')
  const commands = blocks.flatMap((block) => block.split('\n\n')).filter((command) => command.startsWith('curl'))
  for (const command of commands) {
    const isStream = command.startsWith('curl -N')
    const curl = isStream ? 'curl --silent --max-time 1' : 'curl --silent --fail'
    const line = command.replace('curl', curl).replace('http://127.0.0.1:3000', app.url)
    const env = { ...process.env, BOT_MESSAGE_ID: 'some' }
    const { status, stdout } = spawnSync('sh', ['-c', line], { env, encoding: 'utf8' })
    t.equal(status, isStream ? 28 : 0, command)
    t.match(stdout, isStream ? 'event: ready' : /^\{/)
  }
  t.ok(commands.length >= 9, `${commands.length} commands`)
})

/** Resolves once an instance follows so many chats. */
async function chats ({ url }: { url: string }, count: number): Promise<void> {
  await until(async () => {
    const { chatSubscriptions } = await (await fetch(`${url}/api/health/pubsub`)).json() as Health
    return chatSubscriptions.localChats
  }, (localChats) => localChats === count)
}

interface Health { chatSubscriptions: { localChats: number } }
