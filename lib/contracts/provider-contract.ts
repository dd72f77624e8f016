import { openBus } from './bus.ts'
import { channels } from './channels.ts'
import { closing } from './closing.ts'
import { contract, type ContractCase, type Make } from './contract.ts'
import { delivery } from './delivery.ts'
import { payloads } from './payloads.ts'
import { subscribing } from './subscribing.ts'

/** Options of the provider contract. */
export interface ProviderContractOptions {
  /** The provider's maximum size of one payload, in bytes of JSON. @default 65_536 */
  maxPayloadBytes?: number | undefined
}

/**
 * The contract of every `PubSubProvider`, independent of its transport, as cases for any test runner:
 *
 *     for (const { name, run } of providerContract(() => new MyPubSub())) test(name, run)
 *
 * If `make` returns two connected providers, each case checks that both receive the same messages.
 *
 * To know when no more messages can arrive, the cases assume two things that the interface does not promise:
 * subscriptions become active in the order in which they are made, and the messages of one publisher arrive in the
 * order of publishing across all channels.
 */
export function providerContract (
  make: Make, { maxPayloadBytes = 65_536 }: ProviderContractOptions = {}
): ContractCase[] {
  const cases = { ...delivery, ...subscribing, ...channels, ...payloads(maxPayloadBytes), ...closing }
  return contract(cases, (closeLater) => openBus(make, closeLater))
}
