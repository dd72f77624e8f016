import assert from 'node:assert/strict'
import { formatCursor, parseCursor, sameCursor, type Cursor } from '../../../lib/pubsub/cursor.ts'
import type { ResumeRequest } from '../../../lib/rooms/catch-up.ts'
import type { Room } from '../../../lib/rooms/room.ts'
import { FakeConnection, type Frame } from '../../support/fake-connection.ts'
import type { ModelLog } from './model-log.ts'

/** A client that judges all that it is sent by what the log has been. */
export class ModelClient {
  readonly #log: ModelLog
  /** Its position. */
  cursor: Cursor | undefined
  connection: FakeConnection | undefined
  isReady = false
  /** The first thing that it should not have been sent. It must not be thrown where a room writes. */
  failure: unknown
  /** The events of the app's own that it got over this connection. */
  events: string[] = []
  resets: string[] = []
  /** When it came to where it is. */
  #since = 0
  #arrival: ResumeRequest = {}
  /** Whether the next event must be a reset, since the client cannot continue from its position. */
  #owesReset = false
  #seen = new Set<string>()

  constructor (log: ModelLog) {
    this.#log = log
  }

  get isOpen (): boolean {
    return this.connection !== undefined && !this.connection.closed
  }

  join (room: Room, resume: ResumeRequest, slow = false): void {
    this.connection?.destroy()
    this.connection = new FakeConnection((frame) => this.#judge(frame), slow)
    this.#arrival = resume
    this.#since = this.#log.now
    const { after } = resume
    // It can only recognize an event that comes twice if it continues from its own position.
    if (after === undefined || after === 'invalid' || this.cursor === undefined || !sameCursor(after, this.cursor)) {
      this.#seen.clear()
    }
    this.cursor = after === 'invalid' ? undefined : after
    this.isReady = false
    this.#owesReset = false
    this.events = []
    room.join(this.connection.asConnection, resume)
  }

  leave (): void {
    this.connection?.destroy()
  }

  #judge (frame: Frame): void {
    try {
      this.#receive(frame)
    } catch (error) {
      this.failure ??= error
    }
  }

  #receive ({ event, id, retry, data }: Frame): void {
    if (!this.isReady) return this.#greet(event, id, retry, data)
    assert.equal(retry, undefined)
    assert.notEqual(event, 'ready', 'ready comes once')
    if (id === undefined) {
      assert.equal(event, 'typing', 'only ephemeral events have no id')
      assert.ok(!this.#owesReset)
      return
    }
    const cursor = parseCursor(id)
    assert.ok(cursor, `${id} is an id`)
    if (event === 'reset') this.#reset(cursor, JSON.parse(data.toString()))
    else this.#follow(cursor, data)
  }

  #greet (event: string | undefined, id: string | undefined, retry: string | undefined, data: Buffer): void {
    assert.equal(event, 'ready', 'ready comes first')
    assert.equal(retry, '2000')
    const { resumed, chatId } = JSON.parse(data.toString())
    assert.equal(chatId, 'chat')
    const at = parseCursor(id ?? '')
    const { after } = this.#arrival
    if (after === undefined || after === 'invalid') {
      assert.ok(at && this.#log.wasPosition(at) && resumed === false, `${id} is a position`)
      this.cursor = at
      this.#owesReset = after === 'invalid'
    } else {
      // Only the reset moves its position. A reset that is lost must be sent again.
      assert.ok(at && sameCursor(after, at), 'it starts from where the client was')
      this.#owesReset = resumed === false
    }
    this.isReady = true
  }

  #reset (at: Cursor, { reason, certain }: { reason: string, certain: boolean }): void {
    const id = formatCursor(at)
    this.resets.push(reason)
    assert.equal(certain, ['trimmed', 'expired', 'diverged'].includes(reason))
    if (reason === 'failover') {
      assert.ok(this.#log.records.get(id)?.position.isMarker, 'failover comes with a discontinuity marker')
      return this.#advance(at)
    }
    assert.ok(this.#log.wasPosition(at), `${id} is a position`)
    if (reason === 'invalid') {
      assert.ok(this.#owesReset && this.#arrival.after === 'invalid', 'its event id was invalid')
    } else {
      const cursor = this.cursor as Cursor
      assert.ok(this.#log.hadGap(this.#since, cursor, reason), `${formatCursor(cursor)} had a gap: ${reason}`)
    }
    this.#owesReset = false
    // It has reloaded. An instance on a lost branch may deliver the same events again.
    this.#seen.clear()
    this.#goTo(at)
  }

  #follow (at: Cursor, data: Buffer): void {
    const record = this.#log.records.get(formatCursor(at))
    assert.ok(record, 'there was such an event')
    assert.ok(!record.position.isMarker, 'a discontinuity marker is sent as a reset')
    assert.ok(record.json === data.toString(), 'its content is that of its id')
    this.events.push(formatCursor(at))
    this.#advance(at)
  }

  /** An event, or a fence: it comes right after the one before. */
  #advance (at: Cursor): void {
    const id = formatCursor(at)
    assert.ok(!this.#owesReset, 'a reset comes before any event')
    assert.ok(!this.#seen.has(id), `${id} comes once`)
    this.#seen.add(id)
    const { previousTag } = this.#log.records.get(id)?.position as { previousTag: number }
    const before = formatCursor({ ...at, offset: at.offset - 1, tag: previousTag })
    assert.equal(formatCursor(this.cursor as Cursor), before, `${id} follows the one before`)
    this.#goTo(at)
  }

  #goTo (at: Cursor): void {
    this.cursor = at
    this.#since = this.#log.now
  }
}
