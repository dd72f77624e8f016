import { lease, milliseconds, offByDefault } from '../core/option-kinds.ts'
import type { OptionsFrom, ValuesFrom } from '../core/options.ts'

const presenceFields = {
  /**
   * Milliseconds after which a user counts as absent once their last stream has closed. A reloaded page, or a client
   * that moves to another instance, reconnects within that time.
   * @default 10_000
   */
  graceMs: milliseconds({ default: 10_000, from: 0, scope: 'process' }),
  /**
   * Milliseconds after which all users of an instance count as absent if it has crashed or cannot reach Redis. From 100
   * to 60_000.
   * @default 15_000
   */
  leaseMs: lease({ default: 15_000, scope: 'process' })
}

/** When a user counts as absent. */
export interface PresenceOptions extends OptionsFrom<typeof presenceFields> {}

/** `PresenceOptions` with the defaults applied. */
export type PresenceTimes = ValuesFrom<typeof presenceFields>

/** Options of presence. */
export const presenceOptions = {
  /**
   * Publishes the users of each chat: those whose `userId` the option `authorize` returns, while they have an open
   * stream. Requires `authorize`. `true` selects the defaults.
   * See docs/presence.md.
   * @default false
   */
  presence: offByDefault<typeof presenceFields, PresenceOptions>({ fields: presenceFields, scope: 'process' })
}
