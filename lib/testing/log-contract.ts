import { contract, type ContractCase } from './contract.ts'
import { keys } from './log-keys.ts'
import { positions } from './log-positions.ts'
import { reading } from './log-reading.ts'
import type { OpenLog, Keeper, LogOptions } from './log.ts'

export type { Keeper, LogOptions } from './log.ts'

/**
 * The contract of every log, independent of its storage: for a provider that is `Replayable` and a `ChannelFeed`. Run
 * it in addition to the contracts of these. `make` creates a provider with the given options and empty logs; if logs
 * are shared, use a unique prefix. The case closes the provider.
 */
export function logContract (make: (options: LogOptions) => Keeper | Promise<Keeper>): ContractCase[] {
  return contract<OpenLog>({ ...positions, ...reading, ...keys }, (closing) =>
    async (options = {}) => closing(await make(options)))
}
