import type { Logger } from '../core/logger.ts'
import type { OutboxStats } from '../observability/prometheus.ts'
import type { ChatEvents } from './chat-events.ts'

/** What a relay publishes with. */
export interface RelayContext {
  chatEvents: ChatEvents
  /** The logger for failures. @default none */
  log?: Logger | undefined
}

/** A relay that runs. */
export interface RunningRelay {
  /**
   * Ends the relay after the publishes under way. Resolves within five seconds, also if the database does not respond;
   * within one, if Redis does and no published row is left to delete. Never rejects.
   */
  stop (): Promise<void>
}

/** The part of an outbox that the plugin uses. */
export interface RelayedOutbox {
  /**
   * Starts to publish the rows. Of all relays of a table, one publishes at a time; the others take over if it stops.
   * The plugin does this by itself with its option `outbox`. Throws `RT_OPTION_INVALID` if the provider is one of the
   * app, or keeps no history: rows could then be published twice.
   */
  startRelay (context: RelayContext): RunningRelay
  /** Counts the rows. Rejects with the error of the database. */
  stats (): Promise<OutboxStats>
}
