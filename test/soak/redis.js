import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Starts a redis-server on a free port. It ends with this process at the latest. */
export async function startRedis () {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  const child = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
    { stdio: ['ignore', 'pipe', 'inherit'] }
  )
  process.once('exit', () => child.kill('SIGKILL'))
  process.once('SIGTERM', () => process.exit(143))
  for await (const text of child.stdout.setEncoding('utf8')) if (text.includes('Ready to accept connections')) break
  return { child, url: `redis://127.0.0.1:${port}` }
}
