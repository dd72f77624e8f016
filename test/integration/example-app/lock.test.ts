import t from 'tap'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const file = new URL('../../../example-app/database/lock.js', import.meta.url).href
// The example app is plain JavaScript.
const { lockDirectory } = await import(file) as { lockDirectory: (directory: string) => () => void }

const mine = `process-${process.pid}`

t.test('the lock of a process that was killed does not count', async (t) => {
  const directory = t.testdir()
  const { pid } = spawnSync(process.execPath, ['--version'])
  writeFileSync(join(directory, `process-${pid}`), '')
  writeFileSync(join(directory, 'process-0'), '')
  const unlock = lockDirectory(directory)
  t.strictSame(readdirSync(directory), [mine])
  unlock()
  t.strictSame(readdirSync(directory), [])
})

t.test('the lock of a running process counts, also one that was written at the same time', async (t) => {
  const directory = t.testdir()
  const other = spawn('cat')
  const name = `process-${other.pid}`
  writeFileSync(join(directory, name), '')
  t.throws(() => lockDirectory(directory), { message: new RegExp(`^Process ${other.pid} .* delete .*${name}\\.$`) })
  t.strictSame(readdirSync(directory), [name], 'the other lock remains, and there is none of this process')
  other.stdin.end()
  await once(other, 'exit')
  lockDirectory(directory)()
})
