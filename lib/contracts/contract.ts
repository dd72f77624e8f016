import assert from 'node:assert/strict'
import type { PubSubProvider } from '../pubsub/provider.ts'

/** One requirement of a contract. Any test runner can run it: `test(name, run)`. */
export interface ContractCase {
  /** The requirement as a sentence. */
  name: string
  /** Resolves if the requirement is met. Rejects with the failed assertion, or after 30 seconds. */
  run: () => Promise<void>
}

/**
 * Creates a provider for one case, or two connected providers as on two instances, which checks more. The case closes
 * them. Not all cases use unique channel names, so do not run two cases at once on the same broker.
 */
export type Make<P extends PubSubProvider = PubSubProvider> = () =>
  P | readonly [provider: P, peer: P] | Promise<P | readonly [provider: P, peer: P]>

/** Cases by name. Each one gets its own fixtures. */
export type Cases<Fixtures> = Record<string, (fixtures: Fixtures) => Promise<void>>

/** Registers a provider, so that it is closed when the case ends. Returns the provider. */
export type CloseLater = <P extends PubSubProvider>(provider: P) => P

/** The time limit of a case in milliseconds, since a missing message must not block the test runner forever. */
const TIMEOUT_MS = 30_000

/** Turns `cases` into a contract. `prepare` creates the fixtures for each case. */
export function contract<Fixtures> (
  cases: Cases<Fixtures>, prepare: (closeLater: CloseLater) => Fixtures | Promise<Fixtures>
): ContractCase[] {
  return Object.entries(cases).map(([name, check]) => ({
    name, run: () => run(async (closeLater) => check(await prepare(closeLater)))
  }))
}

async function run (check: (closeLater: CloseLater) => Promise<void>): Promise<void> {
  const unhandled: unknown[] = []
  const onUnhandled = (error: unknown): void => { unhandled.push(error) }
  process.on('unhandledRejection', onUnhandled)
  try {
    await withTimeLimit(runAndClose(check))
    // Node reports unhandled rejections after the microtasks of the turn in which they happen.
    await new Promise(setImmediate)
    assert.deepEqual(unhandled, [], 'a promise was rejected and the rejection was not handled')
  } finally {
    process.off('unhandledRejection', onUnhandled)
  }
}

async function runAndClose (check: (closeLater: CloseLater) => Promise<void>): Promise<void> {
  const providers: PubSubProvider[] = []
  try {
    await check((provider) => { providers.push(provider); return provider })
  } finally {
    await Promise.all(providers.map((provider) => provider.close()))
  }
}

/** Unlike `core/with-timeout`, this timer keeps the process alive until the failure is reported. */
async function withTimeLimit (checked: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(
      new Error(`Not done after ${TIMEOUT_MS} ms: a message did not arrive, or a promise never settled`)
    ), TIMEOUT_MS)
  })
  await Promise.race([checked, late]).finally(() => clearTimeout(timer))
}
