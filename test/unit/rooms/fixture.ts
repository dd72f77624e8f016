import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Cursor } from '../../../lib/pubsub/cursor.ts'
import { silentLogger, type Logger } from '../../../lib/core/logger.ts'
import { Metrics } from '../../../lib/observability/metrics.ts'
import { ByteBudget } from '../../../lib/pubsub/byte-budget.ts'
import type { ResumeRequest } from '../../../lib/rooms/catch-up.ts'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'
import { Room } from '../../../lib/rooms/room.ts'
import { FakeConnection, type Frame } from '../../support/fake-connection.ts'
import { FakeTimers } from '../../support/fake-timers.ts'
import { ModelLog } from './model-log.ts'
import { budgets } from '../../../lib/core/budgets.ts'

/** A room over a log of the test's, with time that the test makes pass. */
export class Fixture {
  readonly log = new ModelLog()
  readonly timers = new FakeTimers()
  readonly metrics = new Metrics()
  /** As instances make them. */
  readonly shared = { reads: new ReadGate(budgets.reads), replays: new ByteBudget(budgets.replays) }
  readonly room: Room
  empty = 0

  constructor (t: Test, options: { logger?: Logger, historySize?: number, withLog?: boolean } = {}) {
    const { logger = silentLogger, historySize = 1_000, withLog = true } = options
    this.timers.install()
    t.teardown(() => this.timers.uninstall())
    const events = withLog ? this.log : undefined
    const context = { log: logger, metrics: this.metrics, eventLog: events, historySize, retryMs: 2000, ...this.shared }
    this.room = new Room('chat', 'chat:chat', context, () => { this.empty++ })
  }

  /** Publishes, and delivers to the room unless the message is lost. */
  publish (count = 1, { lost = false, payload = {} }: { lost?: boolean, payload?: object } = {}): void {
    for (let n = 0; n < count; n++) {
      for (const logged of this.log.append(payload)) if (!lost) this.room.chatLog.receive(logged, true)
    }
  }

  join (resume: ResumeRequest = {}, slow = false): Stream {
    const stream = new Stream(slow)
    this.room.join(stream.connection.asConnection, resume)
    return stream
  }

  /** Follows the log until it is in sync, as a room whose subscription is active. */
  async follow (): Promise<void> {
    this.room.chatLog.sync()
    this.room.chatLog.live()
    await this.rest()
  }

  /** Lets everything happen that needs no time. */
  async rest (): Promise<void> {
    for (let n = 0; n < 5; n++) await turn()
  }
}

/** A stream that keeps the events that it was sent. */
export class Stream {
  readonly frames: Frame[] = []
  readonly connection: FakeConnection

  constructor (slow: boolean) {
    this.connection = new FakeConnection((frame) => { this.frames.push(frame) }, slow)
  }

  get names (): (string | undefined)[] {
    return this.frames.map(({ event }) => event)
  }

  get ids (): (string | undefined)[] {
    return this.frames.map(({ id }) => id)
  }

  /** The data of the frames with a name. */
  data (event: string): unknown[] {
    return this.frames.filter((frame) => frame.event === event).map(({ data }) => JSON.parse(data.toString()))
  }
}

export function forged (cursor: Cursor, change: Partial<Cursor>): Cursor {
  return { ...cursor, ...change }
}
