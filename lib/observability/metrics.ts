/** A count for each of a few names. */
export class LabeledCounter {
  readonly counts = new Map<string, number>()

  add (name: string, count = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + count)
  }
}

/**
 * What is counted, whether anybody looks or not: adding to a number costs next to nothing. None of it is counted by chat or user. How Prometheus
 * calls it, and what it means, stands in prometheus.ts.
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
  /** By `published` and `received`. */
  readonly duplicates = new LabeledCounter()
  /** By code. */
  readonly failures = new LabeledCounter()
  /** By code. */
  readonly refused = new LabeledCounter()
  /** By reason. */
  readonly resets = new LabeledCounter()
  /** Is told how many seconds a publish took. */
  onPublished: ((seconds: number) => void) | undefined
  /** Is told how many seconds passed from an event's being published to its being written. */
  onWritten: ((seconds: number) => void) | undefined

  /** Counts a publish that was begun at a time of `performance.now()`. */
  publish ({ duplicate }: { duplicate: boolean }, begun: number): void {
    if (duplicate) this.duplicates.add('published')
    else this.published++
    this.onPublished?.((performance.now() - begun) / 1_000)
  }

  /** Counts a publish that failed. */
  fail (error: unknown): void {
    this.failures.add((error as { code?: string }).code ?? 'unknown')
  }
}
