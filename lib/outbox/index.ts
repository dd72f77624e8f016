export { createOutbox, type AddOptions, type Outbox } from './outbox.ts'
export type { DialectName, Listen, OutboxOptions, Query } from './options.ts'
export type { OutboxStats } from '../observability/prometheus.ts'
export type { RelayContext, RelayedOutbox, RunningRelay } from '../chat/relayed-outbox.ts'
