import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { findProgram } from './find-program.ts'
import { freePort } from './free-port.ts'
import { replaceAll } from './replace-all.ts'
import { until } from './until.ts'
import { watch } from './watchdog.ts'

export type Kind = 'nginx' | 'haproxy'

export interface EdgeProxyOptions {
  /** The ports of the two instances behind it. */
  ports: [number, number]
  /** Silence after which it takes a stream for dead. */
  timeoutMs: number
}

const REASON = 'nginx or haproxy is not installed: apt-get install nginx haproxy'
const programs = new Map((['nginx', 'haproxy'] as const).map((kind) => [kind, findProgram(kind)]))

/** For the `skip` of tests that need both. With `REQUIRE_PROXIES=1` they fail where there are none. */
export const skipWithoutProxies =
  [...programs.values()].includes(undefined) && process.env.REQUIRE_PROXIES !== '1' ? REASON : false

const tls = (file: string): string => new URL(`tls/${file}.pem`, import.meta.url).pathname

/** A proxy as `docs/` configures it, but for ports, files and the timeout. It ends with the test. */
export class EdgeProxy {
  readonly url: string
  /** Its address with TLS and HTTP/2. */
  readonly secureUrl: string
  readonly #dir: string
  #output = ''

  private constructor (dir: string, port: number, securePort: number) {
    this.#dir = dir
    this.url = `http://127.0.0.1:${port}`
    this.secureUrl = `https://127.0.0.1:${securePort}`
  }

  /** Resolves once it accepts connections. */
  static async start (t: Test, kind: Kind, { ports, timeoutMs }: EdgeProxyOptions): Promise<EdgeProxy> {
    const program = programs.get(kind)
    if (program === undefined) throw new Error(REASON)
    const dir = await mkdtemp(join(tmpdir(), `${kind}-`))
    // Its workers run as another user.
    await chmod(dir, 0o755)
    const [port, securePort] = [await freePort(), await freePort()]
    const proxy = new EdgeProxy(dir, port, securePort)
    const child = spawn(program, await prepare[kind](dir, { port, securePort, ports, timeoutMs }), {
      stdio: ['ignore', 'pipe', 'pipe']
    })
    const dismiss = watch(child, dir, 'TERM')
    for (const pipe of [child.stdout, child.stderr]) {
      pipe.setEncoding('utf8').on('data', (text) => { proxy.#output += text })
    }
    t.teardown(async () => {
      await end(child)
      dismiss()
      await rm(dir, { recursive: true })
    })
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`${kind} exited: ${proxy.#output}`)
      return await accepts(port) && await accepts(securePort)
    }, (up) => up)
    return proxy
  }

  /** Resolves with its log so far. */
  async log (): Promise<string> {
    return this.#output + await readFile(join(this.#dir, 'access.log'), 'utf8').catch(() => '')
  }
}

type Settings = EdgeProxyOptions & { port: number, securePort: number }

/** Each writes its files into a folder and resolves with the arguments that make use of them. */
const prepare: Record<Kind, (dir: string, settings: Settings) => Promise<string[]>> = {
  async nginx (dir, { port, securePort, ports: [one, two], timeoutMs }) {
    const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    const paths = kinds.map((kind) => `${kind}_temp_path ${dir}/${kind};\n`)
    await configure('nginx.conf', dir, {
      'listen 80;': `listen 127.0.0.1:${port};`,
      'listen 443 ': `listen 127.0.0.1:${securePort} `,
      '/etc/nginx/cert.pem': tls('cert'),
      '/etc/nginx/key.pem': tls('key'),
      '127.0.0.1:3001': `127.0.0.1:${one}`,
      '127.0.0.1:3002': `127.0.0.1:${two}`,
      ' 60s;': ` ${timeoutMs}ms;`,
      '/var/log/nginx': dir,
      // Only root may use Debian's paths.
      'http {': `http {\n${paths.join('')}`
    })
    return ['-c', `${dir}/nginx.conf`, '-p', dir, '-e', 'stderr', '-g', `daemon off; pid ${dir}/nginx.pid;`]
  },

  async haproxy (dir, { port, securePort, ports: [one, two], timeoutMs }) {
    await copyFile(tls('cert'), `${dir}/site.pem`)
    await copyFile(tls('key'), `${dir}/site.pem.key`)
    await configure('haproxy.cfg', dir, {
      'bind :80': `bind 127.0.0.1:${port}`,
      'bind :443 ': `bind 127.0.0.1:${securePort} `,
      '/etc/haproxy/site.pem': `${dir}/site.pem`,
      '127.0.0.1:3001': `127.0.0.1:${one}`,
      '127.0.0.1:3002': `127.0.0.1:${two}`,
      ' 60s': ` ${timeoutMs}ms`
    })
    return ['-db', '-f', `${dir}/haproxy.cfg`]
  }
}

/**
 * Changes what `docs/` has for this test. Throws where the file lacks one of the texts, so that both change together.
 */
async function configure (name: string, dir: string, changes: Record<string, string>): Promise<void> {
  let text = replaceAll(await readFile(new URL(`../../docs/${name}`, import.meta.url), 'utf8'), changes)
  // Only root may choose the user of a process.
  if (process.getuid?.() !== 0) text = text.replace(/^ *(user|group) .*$/gm, '')
  await writeFile(join(dir, name), text)
}

async function end (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

async function accepts (port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1')
  const up = await once(socket, 'connect').then(() => true, () => false)
  socket.destroy()
  return up
}
