import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Readable } from 'node:stream'
import { Redis } from 'ioredis'
import { freePort } from './free-port.ts'
import { watch } from './watchdog.ts'

export interface RedisServerOptions {
  /** @default a free one */
  port?: number
  /** More arguments for `redis-server`. They win over those given here. */
  args?: string[]
  /** The configuration of a Sentinel: then it is one, and no Redis. */
  sentinel?: string
  /** Makes it a node of a Cluster. */
  cluster?: boolean
}

type Child = ChildProcessByStdio<null, Readable, null>

class PortTakenError extends Error {}

/** A Redis of the test's own, which keeps nothing and never outlives the test's process. */
export class RedisServer {
  readonly port: number
  readonly url: string
  readonly #args: string[]
  readonly #dir: string
  readonly #sentinel: string | undefined
  #child: Child | undefined

  private constructor (port: number, args: string[], dir: string, sentinel: string | undefined) {
    this.port = port
    this.url = `redis://127.0.0.1:${port}`
    this.#args = args
    this.#dir = dir
    this.#sentinel = sentinel
  }

  /** Resolves once it accepts connections. */
  static async start ({ port, args = [], sentinel, cluster = false }: RedisServerOptions = {}): Promise<RedisServer> {
    for (;;) {
      const mode = cluster
        ? ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-port', `${await freePort()}`]
        : []
      const dir = await mkdtemp(join(tmpdir(), 'redis-server-'))
      const server = new RedisServer(port ?? await freePort(), [...mode, ...args], dir, sentinel)
      try {
        await server.#launch()
        return server
      } catch (error) {
        await server.stop()
        // A test that runs in parallel was given the same port and was quicker.
        if (port === undefined && error instanceof PortTakenError) continue
        throw error
      }
    }
  }

  /**
   * Stops it in its tracks: connections stay open and nothing is answered. Resolves when it stands still, where that
   * can be known.
   */
  async freeze (): Promise<void> {
    const pid = this.#running.pid as number
    process.kill(pid, 'SIGSTOP')
    while (await isRunning(pid)) { /* the signal is on its way */ }
  }

  /** Lets it go on after `freeze`. */
  async thaw (): Promise<void> {
    this.#running.kill('SIGCONT')
  }

  /** Separates it from its replicas for good: what it acknowledges from now on is lost with it. */
  async loseReplicas (): Promise<void> {
    const redis = new Redis(this.url)
    await redis.call('ACL', 'SETUSER', 'default', '-psync', '-sync')
    await redis.call('CLIENT', 'KILL', 'TYPE', 'replica')
    redis.disconnect()
  }

  /** Ends it at once, as a crash would, also when frozen. */
  async kill (): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    const exited = once(child, 'exit')
    child.ref()
    child.kill('SIGKILL')
    await exited
  }

  /** Starts it again on the same port: empty, or with its saved data. */
  async restart (): Promise<void> {
    await this.kill()
    await this.#launch()
  }

  /** Ends it for good. Safe to call twice. */
  async stop (): Promise<void> {
    await this.kill()
    await rm(this.#dir, { recursive: true, force: true })
  }

  /** Whether its process exists, running or frozen. */
  get runs (): boolean {
    return this.#child !== undefined
  }

  get #running (): Child {
    if (this.#child === undefined) throw new Error('This Redis does not run. Call restart() first.')
    return this.#child
  }

  /** A Sentinel keeps what it knows in a file that it writes anew. */
  async #mode (): Promise<string[]> {
    if (this.#sentinel === undefined) return []
    const path = join(this.#dir, 'sentinel.conf')
    await writeFile(path, this.#sentinel)
    return [path, '--sentinel']
  }

  async #launch (): Promise<void> {
    const own = [
      '--port',
      `${this.port}`,
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'no',
      '--daemonize',
      'no',
      '--dir',
      this.#dir
    ]
    const child = spawn(findServer(), [...(await this.#mode()), ...own, ...this.#args], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    this.#child = child
    const dismiss = watch(child, this.#dir, 'KILL')
    const gone = (): void => {
      this.#child = undefined
      dismiss()
    }
    child.once('exit', gone).once('error', gone)
    await accepting(child)
    // A test that forgets to stop it can end all the same; the watchdog clears up.
    child.unref()
    const stdout = child.stdout as Socket // Node makes every pipe of a child one.
    stdout.unref()
  }
}

/** The lines that a Redis and a Sentinel print once they accept connections. */
const READY = /Ready to accept connections|Sentinel ID is/

/** Resolves when it says that it accepts connections. Goes on reading then, since a full pipe would block it. */
function accepting (child: Child): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (READY.test(output)) resolve()
    })
    child.once('error', reject)
    // Not at `exit`, when its last words may still be in the pipe.
    child.once('close', () => {
      const message = `redis-server exited before it accepted connections:\n${output}`
      reject(output.includes('Address already in use') ? new PortTakenError(message) : new Error(message))
    })
  })
}

function findServer (): string {
  const paths = (process.env.PATH ?? '').split(delimiter)
  const found = ['redis-server', 'valkey-server'].find((name) => paths.some((path) => existsSync(join(path, name))))
  if (found === undefined) throw new Error('There is no redis-server here. Run: node test/support/ensure-redis.js')
  return found
}

/** Whether a process still runs after a SIGSTOP. Only Linux shows it; elsewhere the signal should work at once. */
async function isRunning (pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // Its state is the letter behind the name in parentheses, which may hold anything itself.
  const state = stat.charAt(stat.lastIndexOf(')') + 2)
  return stat !== '' && state !== 'T'
}
