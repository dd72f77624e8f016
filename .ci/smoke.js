// Starts the example app as the README says, opens its page and a stream, stores a message, and stops it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const probe = createServer().listen(0, '127.0.0.1')
await once(probe, 'listening')
const { port } = probe.address()
await new Promise((resolve) => probe.close(resolve))

const DATA_DIR = mkdtempSync(join(tmpdir(), 'smoke-'))
const app = spawn('npm', ['start'], {
  env: { ...process.env, PORT: String(port), REDIS_URL: undefined, DATABASE_URL: undefined, DATA_DIR },
  stdio: ['ignore', 'pipe', 'inherit'],
  detached: true
})
process.once('exit', () => {
  try { process.kill(-app.pid, 'SIGKILL') } catch { /* it has ended */ }
  rmSync(DATA_DIR, { recursive: true, force: true })
})
const url = `http://127.0.0.1:${port}`
let output = ''
for await (const chunk of app.stdout) {
  process.stdout.write(chunk)
  output += chunk
  if (output.includes(url)) break
}
const page = await fetch(url)
const stream = await fetch(`${url}/api/chats/general/events`)
const { value } = await stream.body.getReader().read()
const health = await (await fetch(`${url}/api/health/pubsub`)).json()
const isReady = new TextDecoder().decode(value).includes('event: ready')
const messages = `${url}/api/chats/general/messages`
await fetch(messages, {
  method: 'POST', headers: { 'content-type': 'application/json' }, body: '{ "text": "hi", "author": "Ada" }'
})
const { messages: [message] } = await (await fetch(messages)).json()
const isStored = message?.text === 'hi'
if (page.status !== 200 || !isReady || health.status !== 'ok' || !isStored) {
  throw new Error('The example app does not work')
}
process.kill(-app.pid, 'SIGTERM')
await once(app, 'exit')
console.log('the page, a stream, the database and the health route answer, and it stops')
