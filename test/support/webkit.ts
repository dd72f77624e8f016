import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Test } from 'tap'
import type { AnyBrowser } from './browsers.ts'
import { findProgram } from './find-program.ts'
import { freePort } from './free-port.ts'
import { until } from './until.ts'
import { watch } from './watchdog.ts'

const REASON = 'WebKit is not installed: apt-get install webkit2gtk-driver xvfb'

const driver = findProgram('WebKitWebDriver')
const xvfb = findProgram('Xvfb')

/** For the `skip` of tests that need it. With `REQUIRE_WEBKIT=1` they fail where there is none. */
export const skipWithoutWebKit =
  (driver === undefined || xvfb === undefined) && process.env.REQUIRE_WEBKIT !== '1' ? REASON : false

/**
 * WebKitGTK's own small browser, driven over WebDriver, on a screen that is nowhere to be seen. It is closed with the
 * test.
 */
export async function launchWebKit (t: Test): Promise<AnyBrowser> {
  if (driver === undefined || xvfb === undefined) throw new Error(REASON)
  const dir = await mkdtemp(join(tmpdir(), 'webkit-'))
  t.teardown(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }))
  const start = (program: string, args: string[], env: NodeJS.ProcessEnv = {}): ChildProcess => {
    const child = spawn(program, args, {
      env: { PATH: process.env.PATH, HOME: dir, ...env },
      stdio: ['ignore', 'ignore', 'ignore', 'pipe']
    })
    const dismiss = watch(child, dir, 'TERM')
    t.teardown(async () => {
      child.kill()
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      dismiss()
    })
    return child
  }
  // It picks a free screen, and writes its number into the pipe once it accepts connections.
  const screen = start(xvfb, ['-displayfd', '3', '-nolisten', 'tcp']).stdio[3] as Readable
  const [number] = await once(screen, 'data')
  const port = await freePort()
  start(driver, [`--port=${port}`, '--host=127.0.0.1'], {
    DISPLAY: `:${String(number).trim()}`,
    XDG_RUNTIME_DIR: dir,
    LIBGL_ALWAYS_SOFTWARE: '1'
  })
  const session = await Session.create(`http://127.0.0.1:${port}`)
  t.teardown(() => session.close())
  return session
}

/**
 * A session of the WebDriver protocol. Its commands concern the tab that was switched to last, so they run one after
 * another.
 */
class Session implements AnyBrowser {
  readonly #url: string
  #last: Promise<unknown> = Promise.resolve()
  #current: string | undefined

  private constructor (url: string) {
    this.#url = url
  }

  static async create (url: string): Promise<Session> {
    await until(() => fetch(`${url}/status`).then(({ ok }) => ok, () => false), (up) => up)
    const { sessionId } = await send<{ sessionId: string }>('POST', `${url}/session`, { capabilities: {} })
    return new Session(`${url}/session/${sessionId}`)
  }

  open (url: string): Promise<{ evaluate<T> (expression: string): Promise<T> }> {
    return this.#next(async () => {
      const { handle } = await send<{ handle: string }>('POST', `${this.#url}/window/new`, { type: 'tab' })
      await this.#switchTo(handle)
      await send('POST', `${this.#url}/url`, { url })
      return {
        evaluate: <T> (expression: string) => this.#next(async () => {
          await this.#switchTo(handle)
          return await send<T>('POST', `${this.#url}/execute/sync`, { script: `return (${expression})`, args: [] })
        })
      }
    })
  }

  async close (): Promise<void> {
    await this.#next(() => send('DELETE', this.#url))
  }

  async #switchTo (handle: string): Promise<void> {
    if (this.#current !== handle) await send('POST', `${this.#url}/window`, { handle })
    this.#current = handle
  }

  #next<T> (command: () => Promise<T>): Promise<T> {
    const result = this.#last.then(command)
    this.#last = result.catch(() => {})
    return result
  }
}

/** Sends a command of WebDriver and resolves with its value, which is of the type that the protocol says. */
async function send<T> (method: string, url: string, body?: object): Promise<T> {
  const response = await fetch(url, { method, ...body && { body: JSON.stringify(body) } })
  const { value } = await response.json() as { value: T & { message?: string } }
  if (!response.ok) throw new Error(`WebDriver: ${value.message}`)
  return value
}
