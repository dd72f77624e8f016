import type { Test } from 'tap'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { databaseNode, exampleData } from './example-database.ts'
import { freePort } from './free-port.ts'
import { until } from './until.ts'

export interface ExampleAppOptions {
  /** @default 'server.js' */
  script?: 'server.js' | 'cluster.js' | 'minimal/server.js'
  /** @default a free one */
  port?: number
  /**
   * Its environment. Nothing of the test's own but `PATH` is passed on. Without `DATABASE_URL` and `DATA_DIR`, it has
   * an empty database of its own.
   */
  env?: Record<string, string>
}

/** The example as a process of its own, as a user starts it. */
export class ExampleApp {
  readonly url: string
  readonly port: number
  readonly #child: ChildProcess
  readonly #output: string[]

  private constructor (child: ChildProcess, url: string, output: string[]) {
    this.#child = child
    this.#output = output
    this.url = url
    this.port = Number(new URL(url).port)
  }

  /** Resolves once it listens. It is stopped with the test. */
  static async start (t: Test, { script = 'server.js', port, env = {} }: ExampleAppOptions = {}): Promise<ExampleApp> {
    const file = fileURLToPath(new URL(`../../example-app/${script}`, import.meta.url))
    const hasData = script === 'minimal/server.js' || 'DATABASE_URL' in env || 'DATA_DIR' in env
    const data = hasData ? {} : { DATA_DIR: await exampleData(t) }
    const child = spawn(...databaseNode(file), {
      env: { PATH: process.env.PATH, PORT: `${port ?? await freePort()}`, ...data, ...env },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    watch(child)
    const output: string[] = []
    const app = new ExampleApp(child, await listening(child, output), output)
    // A cluster has processes of its own to end; the server alone need not take its time.
    t.teardown(() => app.stop(script === 'cluster.js' ? 'SIGTERM' : 'SIGKILL'))
    return app
  }

  /** What it has printed so far. */
  get output (): string {
    return this.#output.join('')
  }

  /** Resolves once its messages get through. */
  healthy (): Promise<void> {
    return healthy(this.url)
  }

  /** Asks it to end. Resolves with its exit code when it has ended by itself, or with the signal that ended it. */
  async stop (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    const { exitCode, signalCode } = this.#child
    const past = exitCode ?? signalCode
    if (past !== null) return past
    const exited = once(this.#child, 'exit')
    this.#child.kill(signal)
    const [code, by] = await exited
    return code ?? by
  }
}

/**
 * Resolves once the messages of an instance get through. Where they don't, its health route takes the time to see that.
 */
export async function healthy (url: string): Promise<void> {
  await until(
    async () => (await fetch(`${url}/api/health/pubsub`).catch(() => undefined))?.status,
    (status) => status === 200
  )
}

/** Resolves with the URL that it prints. Goes on reading then, since a full pipe would block it. */
function listening (child: ChildProcess, output: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const read = (text: string): void => {
      output.push(text)
      // Not the lines of a cluster's instances, which have a name in front.
      const url = /^The chat is open at (http:\/\/[^\s,]+)/m.exec(output.join(''))?.[1]
      if (url !== undefined) resolve(url)
    }
    child.stdout?.setEncoding('utf8').on('data', read)
    child.stderr?.setEncoding('utf8').on('data', read)
    child.once('error', reject)
    child.once('close', () =>
      reject(new Error(`The example ended before it listened (is dist/ built?):\n${output.join('')}`))
    )
  })
}

/**
 * Ends it when this process has exited, for any reason: its end of the pipe closes even if none of our handlers could
 * run. Asks first, since a cluster has processes of its own to end.
 */
function watch (child: ChildProcess): void {
  const script = 'read -r _; kill "$1"; sleep 10; kill -9 "$1"'
  const watchdog = spawn('sh', ['-c', script, 'sh', `${child.pid}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true
  })
  watchdog.unref()
  const stdin = watchdog.stdin as Socket // Node makes every pipe of a child one.
  stdin.unref()
  child.once('exit', () => watchdog.kill('SIGKILL'))
}
