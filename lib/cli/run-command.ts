import { readFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { parseArgs } from 'node:util'
import { RealtimeError } from '../errors.ts'
import { describeRedisError } from '../pubsub/redis/connection.ts'
import type { Command } from './command.ts'
import { doctor } from './doctor/doctor.ts'
import { publish } from './publish.ts'
import { tail } from './tail.ts'
import { chooseTarget, targetOptions } from './target.ts'
import { USAGE, UsageError } from './usage.ts'

/** The part of `process` that a command uses. */
export interface CommandProcess {
  argv: string[]
  env: NodeJS.ProcessEnv
  stdin: Readable
  stdout: Writable
  stderr: Writable
  once (event: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
}

/** Runs the command of a process. Resolves with the exit status, which USAGE explains. Never rejects. */
export async function runCommand (host: CommandProcess): Promise<number> {
  const { argv, env, stdin, stdout, stderr } = host
  const stop = new AbortController()
  const abort = (): void => stop.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) host.once(signal, abort)
  // Nothing reads the output any more, as with `tail | head`.
  for (const stream of [stdout, stderr]) stream.on('error', abort)
  try {
    const { values, positionals: [name, ...args] } = parse(argv.slice(2))
    if (values.version === true) return print(stdout, `${versionOf()}\n`)
    if (values.help === true || name === undefined) return print(stdout, USAGE)
    const command = commandOf(name, args, values)
    const target = chooseTarget(values, env)
    if (values.sharded === true && target.kind !== 'cluster') throw new UsageError('--sharded needs --cluster.')
    if (values.redis?.includes('@')) stderr.write(VISIBLE)
    const { 'key-prefix': keyPrefix, sharded = false } = values
    return await command({ target, keyPrefix, sharded, stdin, stdout, stderr, signal: stop.signal })
  } catch (error) {
    return report(error as Error, stderr) // Nothing here throws anything else.
  }
}

const VISIBLE = 'Other users of this machine can see the URL of --redis in the list of processes, with its password: ' +
  'set REDIS_URL instead.\n'

const options = {
  ...targetOptions,
  'key-prefix': { type: 'string' },
  sharded: { type: 'boolean' },
  json: { type: 'boolean' },
  count: { type: 'string', short: 'n' },
  key: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' }
} as const

type Parsed = ReturnType<typeof parseArgs<{ options: typeof options, allowPositionals: true, args: string[] }>>

function parse (args: string[]): Parsed {
  try {
    return parseArgs({ options, allowPositionals: true, args })
  } catch (error) {
    // Only the name of the option: what follows can hold a password.
    const option = (error as Error).message.match(/--?[\w-]+/g)?.[0]
    throw new UsageError(`The option ${option} is unknown, or its value is missing or not expected.`)
  }
}

function commandOf (name: string, args: string[], { json, count, key }: Parsed['values']): Command {
  const [chatId, event] = args
  if (name === 'doctor' && args.length === 0) return doctor(json === true)
  if (name === 'tail' && chatId !== undefined && args.length === 1) return tail(chatId, parseCount(count))
  if (name === 'publish' && chatId !== undefined && event !== undefined && args.length === 2) {
    return publish(chatId, event, key)
  }
  throw new UsageError('The command is one of: doctor, tail CHAT, publish CHAT EVENT.')
}

function parseCount (text = '10'): number {
  if (/^\d{1,6}$/.test(text)) return Number(text)
  throw new UsageError('-n must be a number of events.')
}

function print (stdout: Writable, text: string): number {
  stdout.write(text)
  return 0
}

function versionOf (): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return version
}

/** Returns 1 if Redis is the reason, so that another attempt may succeed. Returns 2 if the command line is. */
function report (error: Error, stderr: Writable): number {
  if (error instanceof UsageError) {
    stderr.write(`${error.message}\nfastify-realtime --help shows all options.\n`)
    return 2
  }
  if (!(error instanceof RealtimeError)) {
    stderr.write(`${describeRedisError(error)}\n`)
    return 1
  }
  stderr.write(`${error.code}: ${error.message}\n`)
  return error.statusCode === 503 ? 1 : 2
}
