import type { Test } from 'tap'
import { InstanceProcess } from '../support/instance-process.ts'

/** Processes that run the same script. A killed one is replaced. */
export class ProcessGroup {
  readonly #t: Test
  readonly #script: URL
  readonly #env: NodeJS.ProcessEnv
  all: InstanceProcess[] = []

  private constructor (t: Test, script: URL, env: NodeJS.ProcessEnv) {
    this.#t = t
    this.#script = script
    this.#env = env
  }

  static async start (t: Test, count: number, script: URL, env: NodeJS.ProcessEnv): Promise<ProcessGroup> {
    const group = new ProcessGroup(t, script, env)
    group.all = await InstanceProcess.startAll(t, count, env, script)
    return group
  }

  async kill (index: number): Promise<void> {
    await this.all[index]?.kill()
    this.all[index] = await InstanceProcess.start(this.#t, this.#env, this.#script)
  }
}
