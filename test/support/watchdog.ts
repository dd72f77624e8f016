import { spawn, type ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'

/**
 * Ends a child when this process is gone, however it went: its end of the pipe closes even where no handler of ours could run.
 * In a group of its own, so that a Ctrl-C leaves it alive to do so. Returns what ends it.
 */
export function watch (child: ChildProcess, dir: string, signal: 'KILL' | 'TERM'): () => void {
  const script = 'read -r _; kill -s "$3" "$1"; rm -rf "$2"'
  const watchdog = spawn('sh', ['-c', script, 'sh', `${child.pid}`, dir, signal], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  watchdog.unref()
  const stdin = watchdog.stdin as Socket // Node makes every pipe of a child one.
  stdin.unref()
  return () => { watchdog.kill('SIGKILL') }
}
