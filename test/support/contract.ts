import type { Test } from 'tap'
import type { ContractCase } from '../../lib/contracts/index.ts'

/** Runs the cases of a contract as tests. */
export function keeps (t: Test, what: string, cases: ContractCase[]): void {
  t.test(what, async (t) => {
    for (const { name, run } of cases) t.test(name, async (t) => { await t.resolves(run(), name) })
  })
}
