import type { Test } from 'tap'

const watched = new WeakSet<Test>()

/**
 * Fails the test if anything in this process goes unhandled while it runs. Many files that share a process may ask for
 * that before each test.
 */
export function nothingUnhandled (t: Test): void {
  if (watched.has(t)) return
  watched.add(t)
  const onRejection = (error: unknown): void => { t.fail('an unhandledRejection', { error }) }
  process.on('unhandledRejection', onRejection)
  t.teardown(async () => {
    // Rejections are reported after the microtasks of the turn that made them.
    await new Promise(setImmediate)
    process.off('unhandledRejection', onRejection)
  })
}
