// @ts-check
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { Child } from './child.js'

const COMMANDS = ['redis-server', 'valkey-server']

/** A Redis for this cluster. It stores nothing on disk. @param {number} port @param {(line: string) => void} print */
export function redisChild (port, print) {
  const command = COMMANDS.find((candidate) => spawnSync(candidate, ['--version']).status === 0)
  if (command === undefined) {
    const hint = 'Install one of them, for example with "apt-get install redis-server" or "brew install redis".'
    throw new Error(`Found neither ${COMMANDS.join(' nor ')}. ${hint}`)
  }
  return new Child({
    name: 'redis',
    command,
    args: ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', tmpdir()],
    readyText: 'Ready to accept connections',
    print
  })
}
