import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { plainNode } from './plain-node.ts'

/** An instance that runs as a process of its own. It ends with the test at the latest. */
export class InstanceProcess {
  readonly url: string
  readonly child: ChildProcess
  readonly exited: Promise<number | null>

  private constructor (child: ChildProcess, port: number) {
    this.child = child
    this.url = `http://127.0.0.1:${port}`
    this.exited = child.exitCode === null ? once(child, 'exit').then(([code]) => code) : Promise.resolve(child.exitCode)
  }

  static async start (
    t: Test, env: NodeJS.ProcessEnv = {}, script = new URL('./instance.js', import.meta.url)
  ): Promise<InstanceProcess> {
    const child = spawn(...plainNode(fileURLToPath(script)), {
      env: { ...process.env, ...env },
      stdio: ['inherit', 'inherit', 'inherit', 'ipc']
    })
    const killWithParent = (): void => { child.kill('SIGKILL') }
    process.once('exit', killWithParent)
    child.once('exit', () => process.off('exit', killWithParent))
    const exited = once(child, 'exit').then(([code]) => {
      throw new Error(
        `The instance exited with ${code} before it listened. Does dist/ hold the plugin as it is now? npm run build`
      )
    })
    const [port] = await Promise.race([once(child, 'message'), exited]) as [number]
    const instance = new InstanceProcess(child, port)
    t.teardown(() => instance.kill())
    return instance
  }

  static async startAll (
    t: Test, count: number, env?: NodeJS.ProcessEnv, script?: URL
  ): Promise<InstanceProcess[]> {
    return await Promise.all(Array.from({ length: count }, () => InstanceProcess.start(t, env, script)))
  }

  /** Asks it to close. Resolves with its exit code and how many milliseconds it took. */
  async stop (): Promise<{ code: number | null, ms: number }> {
    const started = performance.now()
    this.child.kill('SIGTERM')
    return { code: await this.exited, ms: performance.now() - started }
  }

  async kill (): Promise<void> {
    this.child.kill('SIGCONT')
    this.child.kill('SIGKILL')
    await this.exited
  }

  /** Stops it in its tracks; `kill` or `thaw` ends that. */
  freeze (): void {
    this.child.kill('SIGSTOP')
  }

  thaw (): void {
    this.child.kill('SIGCONT')
  }

  async post (
    chatId: string, message: object, { key, signal }: { key?: string, signal?: AbortSignal } = {}
  ): Promise<Response> {
    return await fetch(`${this.url}/api/chats/${chatId}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...key !== undefined && { 'idempotency-key': key } },
      body: JSON.stringify(message),
      ...signal && { signal }
    })
  }
}
