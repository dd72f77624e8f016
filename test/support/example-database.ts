import type { Test } from 'tap'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from './free-port.ts'
import { plainNode } from './plain-node.ts'
import { watch } from './watchdog.ts'

const run = promisify(execFile)
const pathOf = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

/** The path of an empty database to copy, once it exists. */
let prepared: Promise<string> | undefined

/**
 * The command of a process that has a database in it. Without optimizing the database's WebAssembly, which takes more
 * time than a test spends in it.
 */
export function databaseNode (...args: string[]): [command: string, args: string[]] {
  return plainNode('--liftoff-only', ...args)
}

/** A directory with an empty database of the example app. It is removed with the test. */
export async function exampleData (t: Test): Promise<string> {
  prepared ??= run(...plainNode(pathOf('prepare-database.js'))).then(({ stdout }) => stdout.trim())
  const directory = await mkdtemp(join(tmpdir(), 'example-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  await run('cp', ['-R', `${await prepared}/database`, directory])
  return directory
}

/** Starts the database of the cluster. It is stopped with the test. Resolves with its URL. */
export async function startExampleDatabase (t: Test): Promise<string> {
  const DATA_DIR = await exampleData(t)
  const PORT = `${await freePort()}`
  const child = spawn(...databaseNode(pathOf('../../example-app/cluster/database-server.js')), {
    env: { PATH: process.env.PATH, PORT, DATA_DIR }, stdio: ['ignore', 'pipe', 'inherit']
  })
  watch(child, DATA_DIR, 'KILL')
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  // It prints one line.
  await once(child.stdout, 'data')
  return `postgres://postgres@127.0.0.1:${PORT}/postgres`
}
