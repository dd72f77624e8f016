import { lease, milliseconds } from '../core/option-kinds.ts'

/** Options of bot messages. */
export const botMessageOptions = {
  /**
   * Milliseconds over which text appended to a bot message is collected into one piece; `0` sends each immediately.
   * @default 50
   */
  botMessageWindowMs: milliseconds({ default: 50, from: 0, scope: 'process' }),
  /**
   * Milliseconds after which a bot message counts as interrupted if its producer has crashed or cannot reach Redis.
   * From 100 to 60_000.
   * @default 5_000
   */
  botMessageLeaseMs: lease({ default: 5_000, scope: 'process' })
}
