import { contract, type ContractCase } from './contract.ts'
import { keys } from './log-keys.ts'
import { positions } from './log-positions.ts'
import { reading } from './log-reading.ts'
import type { OpenLog, Keeper, LogOptions } from './log.ts'

export type { Keeper, LogOptions } from './log.ts'

/**
 * What every log keeps to, wherever it is kept: for a provider that is `Replayable` and a `ChannelFeed`, beside the contracts of these.
 * `make` makes one with these options, whose logs are empty (with a prefix of its own, where the logs are shared). The case closes it.
 */
export function logContract (make: (options: LogOptions) => Keeper | Promise<Keeper>): ContractCase[] {
  return contract<OpenLog>({ ...positions, ...reading, ...keys }, (closing) => async (options = {}) => closing(await make(options)))
}
