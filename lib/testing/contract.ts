import assert from 'node:assert/strict'
import type { PubSubProvider } from '../pubsub/provider.ts'

/** One thing that a provider keeps to. Any test runner runs it: `test(name, run)`. */
export interface ContractCase {
  /** What is promised, as a sentence. */
  name: string
  /** Resolves where the promise is kept; rejects with what was seen instead, or after half a minute. */
  run: () => Promise<void>
}

/**
 * Makes a provider for one case, or two that reach each other as two instances do, which checks more. The case closes what it was given.
 * Other cases use other channels for the most part, yet not all: don't run two cases at once on one bus.
 */
export type Make<P extends PubSubProvider = PubSubProvider> = () => P | readonly [provider: P, peer: P] | Promise<P | readonly [provider: P, peer: P]>

/** Cases by their names. Each gets what it needs, made for it alone. */
export type Cases<Given> = Record<string, (given: Given) => Promise<void>>

/** Notes a provider, so that it is closed with the case. */
export type Closing = <P extends PubSubProvider>(provider: P) => P

/** Half a minute: a message that never comes must not keep a test runner for ever. */
const LONGEST_MS = 30_000

/** What `cases` check, for `prepare` to make what each is given. */
export function contract<Given> (cases: Cases<Given>, prepare: (closing: Closing) => Given | Promise<Given>): ContractCase[] {
  return Object.entries(cases).map(([name, check]) => ({ name, run: () => run(async (closing) => check(await prepare(closing))) }))
}

async function run (check: (closing: Closing) => Promise<void>): Promise<void> {
  const unhandled: unknown[] = []
  const note = (error: unknown): void => { unhandled.push(error) }
  process.on('unhandledRejection', note)
  try {
    await inTime(thenClose(check))
    // Rejections are reported after the microtasks of the turn that made them.
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
    timer = setTimeout(() => reject(new Error(`Not done after ${LONGEST_MS} ms: a message did not come, or a promise never settled`)), LONGEST_MS)
  })
  await Promise.race([checked, late]).finally(() => clearTimeout(timer))
}
