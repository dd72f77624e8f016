import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import vm from 'node:vm'

setFlagsFromString('--expose-gc')
const gc = vm.runInNewContext('gc') as () => void // Node's types don't know of it.

/** A decrease by less than this, in three collections in a row, is none. */
const NOTHING = 50_000

/** Bytes of memory, of the heap and outside of it, that cannot be freed. A collection may make more of it free. */
export async function keptMemory (): Promise<number> {
  let least = Infinity
  for (let collections = 0; collections < 3; collections++) {
    gc()
    await turn()
    const { heapUsed, external } = process.memoryUsage()
    if (heapUsed + external < least - NOTHING) collections = 0
    least = Math.min(least, heapUsed + external)
  }
  return least
}
