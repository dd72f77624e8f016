import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import type { Test } from 'tap'
import { runCommand } from '../../lib/cli/run-command.ts'
import { inTime } from './in-time.ts'

export interface RunningCommand {
  /** What it has printed so far. */
  stdout: () => string
  stderr: () => string
  /** Resolves with the exit status. */
  exited: Promise<number>
  /** Its standard output. */
  output: PassThrough
  /** Resolves once standard output or standard error matches. */
  prints: (pattern: RegExp) => Promise<void>
  /** Presses Ctrl+C. */
  interrupt: () => void
}

interface CommandOptions {
  env?: NodeJS.ProcessEnv
  /** Standard input, or the error of reading it. */
  input?: string | Error
}

/** Starts `fastify-realtime` in this process. It ends with the test at the latest. */
export function startCommand (
  t: Test, args: string[], { env = {}, input = '' }: CommandOptions = {}
): RunningCommand {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
  if (typeof input === 'string') stdin.end(input)
  else stdin.destroy(input)
  const texts = new Map([[stdout, ''], [stderr, '']])
  const printed = new EventEmitter().setMaxListeners(0)
  for (const stream of texts.keys()) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      texts.set(stream, texts.get(stream) + text)
      printed.emit('text')
    })
  }
  const host = Object.assign(new EventEmitter(), { argv: ['node', 'main.js', ...args], env, stdin, stdout, stderr })
  const exited = runCommand(host)
  const interrupt = (): void => { host.emit('SIGINT') }
  t.teardown(async () => { interrupt(); await exited })
  const text = (stream: PassThrough) => (): string => texts.get(stream) as string
  const prints = (pattern: RegExp): Promise<void> => inTime(new Promise((resolve) => {
    const check = (): void => {
      if (!pattern.test(text(stdout)()) && !pattern.test(text(stderr)())) return
      printed.off('text', check)
      resolve()
    }
    printed.on('text', check)
    check()
  }), String(pattern))
  return { stdout: text(stdout), stderr: text(stderr), exited, output: stdout, prints, interrupt }
}

/** Runs a command to its end. */
export async function runToEnd (
  t: Test, args: string[], options?: CommandOptions
): Promise<{ status: number, stdout: string, stderr: string }> {
  const command = startCommand(t, args, options)
  const status = await inTime(command.exited, `The end of ${args.join(' ')}`)
  // What was written last is still on its way.
  await new Promise(setImmediate)
  return { status, stdout: command.stdout(), stderr: command.stderr() }
}
