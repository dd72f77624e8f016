import { contract, type ContractCase } from './contract.ts'
import { backward } from './log-backward.ts'
import { keys } from './log-keys.ts'
import { positions } from './log-positions.ts'
import { reading } from './log-reading.ts'
import type { OpenLog, LogProvider, LogOptions } from './log.ts'

export type { LogProvider, LogOptions } from './log.ts'

/**
 * The contract of every log, independent of its storage, for a provider that is `Replayable` and a `ChannelFeed`. Run
 * it in addition to `providerContract` and `channelFeedContract`. `make` creates a provider with the given options and
 * empty logs: on a shared server, use a unique key prefix for each. The case closes the provider.
 */
export function logContract (make: (options: LogOptions) => LogProvider | Promise<LogProvider>): ContractCase[] {
  return contract<OpenLog>({ ...positions, ...reading, ...backward, ...keys }, (closeLater) =>
    async (options = {}) => closeLater(await make(options)))
}
