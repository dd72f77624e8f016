import { bytes, lease, milliseconds } from '../core/option-kinds.ts'

/** Options of bot messages. */
export const botMessageOptions = {
  /**
   * Milliseconds over which what is appended to a bot message is collected into one piece; `0` sends each immediately.
   * @default 50
   */
  botMessageWindowMs: milliseconds({ default: 50, from: 0, scope: 'process' }),
  /**
   * Milliseconds after which a bot message counts as interrupted if its producer has crashed or cannot reach Redis.
   * From 100 to 60_000.
   * @default 5_000
   */
  botMessageLeaseMs: lease({ default: 5_000, scope: 'process' }),
  /**
   * Milliseconds that `app.close()` and `closePubSub()` wait until the bot messages that this instance produces have
   * ended. Streams go on meanwhile. Then the rest is interrupted; with `0`, at once.
   * @default 5_000
   */
  botMessageDrainMs: milliseconds({ default: 5_000, from: 0, scope: 'process' }),
  /**
   * The most bytes that one bot message may take: those of its text, or of its chunks as JSON. Its producer and Redis
   * keep all of it until it has ended; without Redis, it is kept once.
   * @default 8_388_608
   */
  maxBotMessageBytes: bytes({ default: 8_388_608, from: 1, scope: 'process' })
}
