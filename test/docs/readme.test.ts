import t, { type Test } from 'tap'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import vm from 'node:vm'
import { EventSource } from 'eventsource'
import { EventStream } from '../support/event-stream.ts'
import { freePort } from '../support/free-port.ts'
import { Document } from '../support/snippets.ts'
import { plainNode } from '../support/plain-node.ts'
import { until } from '../support/until.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = await Document.read('README.md')
const [server, page, typescript] = [...readme.snippets('Five minutes'), ...readme.snippets('In TypeScript')]
const [open, publish, publishByRoute] = readme.blocks('sh') as [string, string, string]
const [publishing] = readme.snippets('From other services')

/** A project as `npm init -y` makes it, with the packages of the README. */
async function newProject (t: Test): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'readme-')))
  t.teardown(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'package.json'), '{ "name": "app", "version": "1.0.0", "type": "commonjs" }')
  await mkdir(join(folder, 'node_modules/@types'), { recursive: true })
  for (const name of ['fastify', '@types/node']) {
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
  await symlink(root, join(folder, 'node_modules/fastify-realtime'))
  return folder
}

/** Runs a server of the project. Resolves with its port and its lines once the stream of a chat can be opened. */
async function serve (t: Test, file: string): Promise<{ port: number, lines: AsyncIterator<string> }> {
  const port = await freePort()
  const env = { ...process.env, REDIS_URL: undefined, PORT: String(port) }
  const child = spawn(...plainNode(file), { env, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(async () => { child.kill('SIGKILL'); await once(child, 'exit') })
  await until(async () => {
    if (child.exitCode !== null) throw new Error('The server ended')
    return await fetch(`http://127.0.0.1:${port}/api/health/pubsub`).then(({ ok }) => ok, () => false)
  }, (isUp) => isUp)
  return { port, lines: createInterface(child.stdout)[Symbol.asyncIterator]() }
}

/** Runs a command of the README in a shell, on another port. */
function shell (command: string, port: number): ReturnType<typeof spawn> {
  return spawn('sh', ['-c', `exec ${command.trim().replace('localhost:3000', `127.0.0.1:${port}`)}`], {
    stdio: ['ignore', 'pipe', 'ignore']
  })
}

t.test('the JavaScript runs in a new project, and its stream in a shell and in a page', async (t) => {
  t.ok((server as string).trim().split('\n').length <= 15, 'it is short')
  const file = join(await newProject(t), 'server.mjs')
  await writeFile(file, server as string)
  const { port } = await serve(t, file)
  const curl = shell(open, port)
  t.teardown(() => curl.kill())
  const lines = createInterface(curl.stdout as NodeJS.ReadableStream)[Symbol.asyncIterator]()
  for (let line = ''; !line.startsWith('event: ready');) line = (await lines.next()).value
  let source: EventSource | undefined
  const shown = new Promise((resolve) => {
    class PageEventSource extends EventSource {
      constructor (path: string) {
        super(`http://127.0.0.1:${port}${path}`)
        source = this
      }
    }
    vm.runInNewContext(page as string, {
      EventSource: PageEventSource,
      JSON,
      show: resolve,
      reload: () => t.fail('reloaded')
    })
  })
  const opened = source as unknown as EventSource // The page has made it.
  t.teardown(() => opened.close())
  await once(opened, 'ready')
  const [accepted] = await once(shell(publish, port).stdout as NodeJS.ReadableStream, 'data') as [Buffer]
  t.same(JSON.parse(accepted.toString()), { accepted: true })
  t.same(JSON.parse(JSON.stringify(await shown)), { text: 'Hello' })
  for (let line = ''; !line.startsWith('data: {"type":"message"');) line = (await lines.next()).value
})

t.test('a service publishes by curl', async (t) => {
  const file = join(await newProject(t), 'server.mjs')
  await writeFile(file, publishing as string)
  const { port } = await serve(t, file)
  const stream = await EventStream.open(t, `http://127.0.0.1:${port}/api/chats/general/events`)
  t.match(await stream.next(), { event: 'ready' })
  const [accepted] = await once(shell(publishByRoute, port).stdout as NodeJS.ReadableStream, 'data') as [Buffer]
  t.match(JSON.parse(accepted.toString()), { duplicate: false })
  t.match(await stream.next(), { event: 'message', data: { message: { text: 'Hello' } } })
})

t.test('the TypeScript compiles in a new project and runs', { timeout: 120_000 }, async (t) => {
  const folder = await newProject(t)
  await writeFile(join(folder, 'server.mts'), typescript as string)
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  const options = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--skipLibCheck', '--types', 'node']
  await promisify(execFile)(...plainNode(tsc, ...options, 'server.mts'), { cwd: folder })
  const { port, lines } = await serve(t, join(folder, 'server.mjs'))
  const post = (body: object): Promise<Response> => fetch(`http://127.0.0.1:${port}/api/chats/general/messages`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body)
  })
  t.equal((await post({ text: 'Hello' })).status, 400, 'the schema refuses a message without an author')
  t.equal((await post({ text: 'Hello', author: 'Ann' })).status, 202)
  t.equal((await lines.next()).value, 'Ann: Hello')
  t.equal((await lines.next()).value, 'Bot: 👍')
})
