import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import pg from 'pg'
import type { Listen } from '../../lib/outbox/index.ts'
import { freePort } from './free-port.ts'
import { until } from './until.ts'
import { watch } from './watchdog.ts'

const OPTIONS = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=200']

/** A PostgreSQL of the test's own, on a free port. Its data is removed with the test's process at the latest. */
export class PostgresServer {
  readonly url: string
  readonly port: number
  readonly #dir: string
  readonly #user: { uid?: number, gid?: number }
  #child: ChildProcess | undefined

  private constructor (port: number, dir: string, user: { uid?: number, gid?: number }) {
    this.port = port
    this.url = `postgres://postgres@127.0.0.1:${port}/postgres`
    this.#dir = dir
    this.#user = user
  }

  /** Why there can be no PostgreSQL here, or `false`. With `REQUIRE_POSTGRES` set, the tests fail then. */
  static get skip (): string | false {
    if (process.env.REQUIRE_POSTGRES !== undefined || programs() !== undefined) return false
    return 'PostgreSQL is not installed'
  }

  static async start (t: Test): Promise<PostgresServer> {
    const bin = programs()
    if (bin === undefined) throw new Error('There is no PostgreSQL here. Install the Debian package postgresql')
    const user = owner()
    const dir = await mkdtemp(join(tmpdir(), 'postgres-'))
    if (user.uid !== undefined) await chown(dir, user.uid, user.gid as number)
    const data = join(dir, 'data')
    execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8', '--locale=C'], {
      ...user, cwd: dir, stdio: 'ignore'
    })
    const server = new PostgresServer(await freePort(), dir, user)
    await server.#launch()
    t.teardown(() => server.stop())
    return server
  }

  /** Ends it for good. Safe to call twice. */
  async stop (): Promise<void> {
    await this.kill()
    await rm(this.#dir, { recursive: true, force: true })
  }

  /** Ends it at once: connections break, and what was committed remains. */
  async kill (): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    const exited = once(child, 'exit')
    child.ref()
    child.kill('SIGQUIT')
    await exited
  }

  /** Starts it again on the same port, with its data. */
  async restart (): Promise<void> {
    await this.kill()
    await this.#launch()
  }

  async #launch (): Promise<void> {
    const args = ['-D', join(this.#dir, 'data'), '-h', '127.0.0.1', '-p', `${this.port}`, '-k', this.#dir]
    const settings = OPTIONS.flatMap((value) => ['-c', value])
    const child = spawn(join(programs() as string, 'postgres'), [...args, ...settings], {
      ...this.#user, cwd: this.#dir, stdio: ['ignore', 'ignore', 'pipe']
    })
    this.#child = child
    const dismiss = watch(child, this.#dir, 'TERM')
    child.once('exit', () => {
      this.#child = undefined
      dismiss()
    })
    await accepting(child)
    child.unref()
  }
}

/** A pool of connections that ends with the test. */
export function openPool (t: Test, url: string): pg.Pool {
  const pool = new pg.Pool({ connectionString: url })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  return pool
}

/** The `query` of an outbox that uses these connections, or this one. */
export const queryOf = (client: Pick<pg.Pool, 'query'>) =>
  async (sql: string, params: unknown[]): Promise<object[]> => (await client.query(sql, params)).rows

/** Asserts that a `listen` leaves no connection behind if it rejects, and one until it is stopped if it resolves. */
export async function closesFailedListener (t: Test, url: string, listen: Listen): Promise<void> {
  const pool = openPool(t, url)
  const connections = async (): Promise<number> => {
    const { rows } = await pool.query(
      "SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return rows.length
  }
  await t.rejects(Promise.resolve(listen('"', () => {}, () => {})), { message: /unterminated quoted identifier/ })
  await until(connections, (count) => count === 0)
  const stop = await listen('channel', () => {}, () => {})
  t.equal(await connections(), 1)
  await stop()
  await until(connections, (count) => count === 0)
}

/** The folder with `initdb` and `postgres`, of the newest version. */
function programs (): string | undefined {
  const root = '/usr/lib/postgresql'
  if (!existsSync(root)) return undefined
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a))
  return versions.map((version) => join(root, version, 'bin')).find((bin) => existsSync(join(bin, 'initdb')))
}

/** PostgreSQL refuses to run as root: then it runs as the user that its package has created. */
function owner (): { uid?: number, gid?: number } {
  if (process.getuid?.() !== 0) return {}
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

function accepting (child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.includes('database system is ready to accept connections')) resolve()
    })
    child.once('error', reject)
    child.once('close', () => reject(new Error(`PostgreSQL exited before it accepted connections:\n${output}`)))
  })
}
