import { spawn, type ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'

/**
 * Ends a child when this process has exited, for any reason: its end of the pipe closes even if none of our handlers
 * could run. It has a process group of its own, so that a Ctrl-C does not end it first. Returns a
 * function that ends it.
 */
export function watch (child: ChildProcess, dir: string, signal: 'KILL' | 'TERM'): () => void {
  const script = 'read -r _; kill -s "$3" "$1"; rm -rf "$2"'
  const watchdog = spawn('sh', ['-c', script, 'sh', `${child.pid}`, dir, signal], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true
  })
  watchdog.unref()
  const stdin = watchdog.stdin as Socket // Node makes every pipe of a child one.
  stdin.unref()
  return () => { watchdog.kill('SIGKILL') }
}
