export { createOutbox, type AddOptions, type Outbox, type RunningRelay } from './outbox.ts'
export type { DialectName, Listen, OutboxOptions, Query } from './options.ts'
export type { OutboxStats } from '../observability/prometheus.ts'
export type { RelayContext } from './relay.ts'
