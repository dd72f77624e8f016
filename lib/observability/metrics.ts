/** A counter with one label. */
export class LabeledCounter {
  readonly counts = new Map<string, number>()

  add (name: string, count = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + count)
  }
}

/**
 * The metrics of an instance. They are counted even if they are not exported, since incrementing a number costs almost
 * nothing. There are no labels per chat or user. For their meanings see the help texts in prometheus.ts.
 */
export class Metrics {
  published = 0
  received = 0
  ignored = 0
  resyncs = 0
  opened = 0
  deliveries = 0
  bytes = 0
  slow = 0
  /** Duplicates by kind: `published` or `received`. */
  readonly duplicates = new LabeledCounter()
  /** Failed publishes by error code. */
  readonly failures = new LabeledCounter()
  /** Refused streams by error code. */
  readonly refused = new LabeledCounter()
  /** Refused downloads by error code. */
  readonly refusedDownloads = new LabeledCounter()
  /** `reset` events by reason. */
  readonly resets = new LabeledCounter()
  /** Called with the duration of each publish in seconds. */
  onPublished: ((seconds: number) => void) | undefined
  /** Called with the time between the publishing and the writing of an event, in seconds. */
  onWritten: ((seconds: number) => void) | undefined

  /** Counts a failed publish. */
  fail (error: unknown): void {
    this.failures.add((error as { code?: string }).code ?? 'unknown')
  }
}
