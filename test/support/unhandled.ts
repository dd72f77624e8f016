import type { Test } from 'tap'

/** Fails the test if anything in this process goes unhandled while it runs. */
export function nothingUnhandled (t: Test): void {
  const onRejection = (error: unknown): void => { t.fail('an unhandledRejection', { error }) }
  process.on('unhandledRejection', onRejection)
  t.teardown(async () => {
    // Rejections are reported after the microtasks of the turn that made them.
    await new Promise(setImmediate)
    process.off('unhandledRejection', onRejection)
  })
}
