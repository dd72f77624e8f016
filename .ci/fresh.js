// Uses the packed package as an app does, in a fresh folder: its types under strict settings, a page built with Vite in
// Chromium, and the server of the README on Node, Bun and Deno, with and without Redis.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'

// Whatever hangs ends here.
setTimeout(() => { throw new Error('It took more than three minutes') }, 180_000).unref()

const folder = mkdtempSync(join(tmpdir(), 'fresh-'))
const children = new Set()
const bin = (name) => join(folder, 'node_modules/.bin', name)

process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

function run (command, ...args) {
  return execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}

/** Starts a process in the folder. Resolves once it has printed a line that `isReady` accepts, with that line. */
async function start (command, args, env, isReady) {
  const child = spawn(command, args, {
    cwd: folder, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit']
  })
  children.add(child)
  child.once('exit', () => children.delete(child))
  for await (const line of createInterface(child.stdout)) {
    if (!isReady(line)) continue
    child.stdout.resume()
    return { child, line }
  }
  throw new Error(`${command} ${args.join(' ')} has ended`)
}

async function stop (child) {
  child.kill('SIGTERM')
  await once(child, 'exit')
}

async function freePort () {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return String(port)
}

async function readUntil (parts, expected) {
  let text = ''
  while (!text.includes(expected)) {
    const { done, value } = await parts.read()
    if (done) throw new Error(`The stream has ended without ${expected}`)
    text += value
  }
}

/** The first JavaScript of the README: its server. */
function serverOfReadme () {
  const [, code] = /```js\n([^]*?)```/.exec(readFileSync('README.md', 'utf8'))
  assert.match(code, /realtimePlugin/)
  return code
}

const packed = JSON.parse(execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', folder]))
const [{ filename }] = Object.values(packed)
writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
writeFileSync(join(folder, 'server.js'), serverOfReadme())
cpSync('.ci/fresh', folder, { recursive: true })
run(
  'npm', 'install', '--no-audit', '--no-fund', '--silent', `./${filename}`,
  'fastify@5', 'typescript@6', '@types/node@20', 'vite', 'bun', 'deno'
)

// The types of the page and of the server, which share the types of their events.
const all = run(bin('tsc'), '-p', 'page', '--listFiles').split('\n')
const files = all.filter((file) => file.includes('fastify-realtime'))
assert.ok(files.length > 5)
const ofClient = /\/dist\/(client|event-types)\b/
for (const file of files) assert.match(file, ofClient, 'the program of a page has no types of the server')
run(bin('tsc'), '-p', 'server')
console.log('types: the page with a bundler, the server with nodenext, both with skipLibCheck: false')

run(bin('vite'), 'build', 'page', '--logLevel', 'error')
const { child, line: url } = await start('node', ['server/out/server/main.js'], {}, (line) => line.startsWith('http'))
const executablePath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium-headless-shell'
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
const page = await browser.newPage()
await page.goto(url)
await page.getByText('Ada: Hello\nyes: 1').waitFor()
await browser.close()
await stop(child)
console.log('page: built with Vite, it shows the events in Chromium')

const redisPort = await freePort()
const redis = await start(
  'redis-server', ['--port', redisPort, '--save', ''], {}, (line) => line.includes('Ready to accept connections')
)
const runtimes = { node: ['node'], bun: [bin('bun')], deno: [bin('deno'), 'run', '--allow-all'] }
for (const [name, [command, ...args]] of Object.entries(runtimes)) {
  for (const REDIS_URL of [undefined, `redis://127.0.0.1:${redisPort}`]) {
    const PORT = await freePort()
    const isReady = (line) => line.includes('listening')
    const { child } = await start(command, [...args, 'server.js'], { PORT, REDIS_URL }, isReady)
    const chat = `http://127.0.0.1:${PORT}/api/chats/general`
    const { body } = await fetch(`${chat}/events`)
    const parts = body.pipeThrough(new TextDecoderStream()).getReader()
    await readUntil(parts, 'event: ready')
    const message = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"text":"Hello"}' }
    assert.equal((await fetch(`${chat}/messages`, message)).status, 202)
    await readUntil(parts, '"text":"Hello"')
    await stop(child)
    console.log(`${name}: the server of the README ${REDIS_URL === undefined ? 'in one process' : 'with Redis'}`)
  }
}
await stop(redis.child)
