import { openBus } from './bus.ts'
import { channels } from './channels.ts'
import { closing } from './closing.ts'
import { contract, type ContractCase, type Make } from './contract.ts'
import { delivery } from './delivery.ts'
import { payloads } from './payloads.ts'
import { subscribing } from './subscribing.ts'

/** What the contract has to know of a provider. */
export interface ProviderContractOptions {
  /** Bytes of JSON that the provider takes as one payload. @default 65_536 */
  maxPayloadBytes?: number | undefined
}

/**
 * What every `PubSubProvider` keeps to, whatever carries its messages, as cases for any test runner:
 *
 *     for (const { name, run } of providerContract(() => new MyPubSub())) test(name, run)
 *
 * Where `make` returns two that reach each other, each case checks that both see the same.
 *
 * To know when nothing more can come, the cases take two things as given that the interface leaves open: that subscriptions take hold in
 * the order in which they are made, and that what one publisher publishes arrives in that order on all channels.
 */
export function providerContract (make: Make, { maxPayloadBytes = 65_536 }: ProviderContractOptions = {}): ContractCase[] {
  const cases = { ...delivery, ...subscribing, ...channels, ...payloads(maxPayloadBytes), ...closing }
  return contract(cases, (closing) => openBus(make, closing))
}
