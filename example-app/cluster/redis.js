// @ts-check
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { Child } from './child.js'

const COMMANDS = ['redis-server', 'valkey-server']

/** A Redis of the cluster's own, which keeps nothing. @param {number} port @param {(line: string) => void} print */
export function redisChild (port, print) {
  const command = COMMANDS.find((candidate) => spawnSync(candidate, ['--version']).status === 0)
  if (command === undefined) {
    throw new Error(`There is neither ${COMMANDS.join(' nor ')} here. Install one of them, such as by "apt-get install redis-server" or "brew install redis".`)
  }
  return new Child({
    name: 'redis',
    command,
    args: ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', tmpdir()],
    readyText: 'Ready to accept connections',
    print
  })
}
