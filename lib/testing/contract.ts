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
 * Creates a provider for one case, or two connected providers, as on two instances, which checks more. The case closes
 * them. Most cases use channels of their own, but not all: do not run two cases at once on one bus.
 */
export type Make<P extends PubSubProvider = PubSubProvider> = () =>
  P | readonly [provider: P, peer: P] | Promise<P | readonly [provider: P, peer: P]>

/** Cases by name. Each one gets fresh fixtures that no other case uses. */
export type Cases<Given> = Record<string, (given: Given) => Promise<void>>

/** Registers a provider, so that it is closed when the case ends. */
export type Closing = <P extends PubSubProvider>(provider: P) => P

/** The time limit of a case in milliseconds: a missing message must not block the test runner for ever. */
const LONGEST_MS = 30_000

/** Turns `cases` into a contract. `prepare` creates the fixtures for each case. */
export function contract<Given> (
  cases: Cases<Given>, prepare: (closing: Closing) => Given | Promise<Given>
): ContractCase[] {
  return Object.entries(cases).map(([name, check]) => ({
    name, run: () => run(async (closing) => check(await prepare(closing)))
  }))
}

async function run (check: (closing: Closing) => Promise<void>): Promise<void> {
  const unhandled: unknown[] = []
  const note = (error: unknown): void => { unhandled.push(error) }
  process.on('unhandledRejection', note)
  try {
    await inTime(thenClose(check))
    // Node reports unhandled rejections after the microtasks of the turn in which they happen.
    await new Promise(setImmediate)
    assert.deepEqual(unhandled, [], 'a promise was rejected and nobody looked at it')
  } finally {
    process.off('unhandledRejection', note)
  }
}

async function thenClose (check: (closing: Closing) => Promise<void>): Promise<void> {
  const made: PubSubProvider[] = []
  try {
    await check((provider) => { made.push(provider); return provider })
  } finally {
    await Promise.all(made.map((provider) => provider.close()))
  }
}

async function inTime (checked: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(
      new Error(`Not done after ${LONGEST_MS} ms: a message did not come, or a promise never settled`)
    ), LONGEST_MS)
  })
  await Promise.race([checked, late]).finally(() => clearTimeout(timer))
}
