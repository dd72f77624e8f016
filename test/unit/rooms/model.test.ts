import t from 'tap'
import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { formatCursor, type Cursor } from '../../../lib/pubsub/cursor.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { Metrics } from '../../../lib/observability/metrics.ts'
import { ByteBudget } from '../../../lib/pubsub/byte-budget.ts'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'
import { Room } from '../../../lib/rooms/room.ts'
import { FakeTimers } from '../../support/fake-timers.ts'
import { ModelClient } from './model-client.ts'
import { ModelLog } from './model-log.ts'
import type { Envelope, LogEntry } from '../../../lib/pubsub/event-log.ts'

// A run is the same each time; another SEED or more RUNS explore more: `npm run test:long`. With SHRINK=1 a failure is
// made as small as it can be.
const RUNS = Number(process.env.RUNS ?? 400)
const SEED = Number(process.env.SEED ?? 1)

const timers = new FakeTimers()
const PAD = 'x'.repeat(30_000)

/** One process: its room, what is on its way to it, and a handler and a client that stay. */
class Process {
  readonly log: ModelLog
  room!: Room
  inbox: Envelope[] = []
  subscribed = false
  /** Whether nothing that the room can't notice by itself has happened since the subscription held. */
  clean = true
  witness!: ModelClient
  handled: string[] = []

  constructor (log: ModelLog) {
    this.log = log
    this.open()
  }

  open (): void {
    // So little that they are met.
    const shared = { reads: new ReadGate(100_000), replays: new ByteBudget(200_000) }
    const settings = { log: silentLogger, metrics: new Metrics(), historySize: 1000, retryMs: 2000 }
    const context = { ...settings, ...shared, eventLog: this.log }
    this.room = new Room('chat', 'chat:chat', context, () => {})
    this.handled = []
    this.room.addHandler((_event, { id }) => { if (id !== undefined) this.handled.push(id) })
    this.witness = new ModelClient(this.log)
    this.witness.join(this.room, {})
  }

  restart (): void {
    // Closing writes the frames of this turn, which handlers have seen already.
    this.room.close()
    this.judge()
    this.lose()
    this.open()
  }

  live (): void {
    this.subscribed = true
    this.clean = true
    this.room.chatLog.live()
  }

  lose (): void {
    this.subscribed = false
    this.inbox = []
    this.room.chatLog.lost()
  }

  /** The fate of a broadcast message. */
  meet (envelope: Envelope, fate: Fate): void {
    if (!this.subscribed) return
    if (fate === 'lost') this.clean = false
    if (fate === 'comes' || fate === 'twice') this.room.chatLog.receive(envelope, true)
    if (fate === 'late' || fate === 'twice') this.inbox.push(envelope)
  }

  take (index: number, fate: 'comes' | 'twice' | 'lost'): void {
    if (this.inbox.length === 0) return
    const at = index % this.inbox.length
    const envelope = this.inbox[at] as Envelope
    if (fate !== 'twice') this.inbox.splice(at, 1)
    if (fate === 'lost' || this.log.hasLost(envelope)) this.clean = false
    if (fate !== 'lost') this.room.chatLog.receive(envelope, true)
  }

  /** Handlers see what streams see; those that were there first may have seen more before. */
  judge (): void {
    const { events } = this.witness
    // A late event from a lost branch may be delivered again after a gap.
    if (!this.log.hasFallenBack) {
      assert.equal(new Set(this.handled).size, this.handled.length, 'a handler sees each event once')
    }
    assert.deepEqual(
      events.length === 0 ? [] : this.handled.slice(-events.length),
      events,
      'handlers see the events that streams see'
    )
  }
}

type Fate = 'comes' | 'late' | 'lost' | 'twice'

class World {
  readonly log = new ModelLog()
  readonly processes = [new Process(this.log), new Process(this.log)] as const
  readonly clients = Array.from({ length: 4 }, () => new ModelClient(this.log))
  staleTop: Cursor | undefined

  constructor () {
    this.log.onSilentStart = () => this.dirty()
  }

  process (index: number): Process {
    return this.processes[index % 2] as Process
  }

  publish (payload: object, fates: Fate[]): void {
    for (const logged of this.log.append(payload)) {
      this.processes.forEach((process, index) => process.meet(logged, fates[index] as Fate))
    }
  }

  ephemeral (fates: Fate[]): void {
    const envelope = { from: 'model', timestamp: 0, event: 'typing', json: '{}' }
    this.processes.forEach((process, index) => process.meet(envelope, fates[index] as Fate))
  }

  /** The log changed without a broadcast. */
  dirty (): void {
    for (const process of this.processes) process.clean = false
  }

  get everyone (): ModelClient[] {
    return [...this.clients, ...this.processes.map(({ witness }) => witness)]
  }

  judge (): void {
    for (const { failure } of this.everyone) {
      if (failure !== undefined) throw failure
    }
  }

  async settle (): Promise<void> {
    let quiet = 0
    // So many turns may pass where one event is read at a time, since readings have failed.
    for (let n = 0; quiet < 64; n++) {
      assert.ok(n < 1_000, 'the system settles')
      this.log.heal()
      const busy =
        timers.size + this.processes.filter(({ room, subscribed }) => subscribed && !room.chatLog.inSync).length
      timers.fire()
      for (const { connection } of this.everyone) connection?.drain()
      await turn()
      quiet = busy === 0 ? quiet + 1 : 0
    }
  }

  /** The network heals; then everyone has to be at the end of the log. */
  async end (): Promise<void> {
    for (const process of this.processes) {
      if (!process.subscribed) process.live()
      while (process.inbox.length > 0) process.take(0, 'comes')
    }
    await this.settle()
    for (const client of this.clients) {
      if (!client.isOpen) client.join(this.process(client.events.length).room, { after: client.cursor })
    }
    await this.settle()
    // Twice, as the first comparison can make a room write to the log.
    for (let round = 0; round < 2; round++) {
      const [top] = await this.log.heads(['chat'])
      for (const process of this.processes) if (!process.clean) process.room.chatLog.reconcile(top)
      await this.settle()
    }
    this.judge()
    for (const process of this.processes) {
      assert.ok(process.room.chatLog.inSync)
      process.judge()
    }
    for (const client of this.everyone) this.#mustBeAtTop(client)
  }

  #mustBeAtTop (client: ModelClient): void {
    assert.ok(client.isOpen && client.isReady, 'every stream is open and has got ready')
    const { top } = this.log
    if (top !== undefined) {
      assert.equal(formatCursor(client.cursor as Cursor), formatCursor(top), 'every client is at the end of the log')
    }
  }
}

interface Step { name: string, run: (world: World) => void }

const index = fc.nat(7)
const fates = fc.array(fc.oneof(
  { weight: 6, arbitrary: fc.constant<Fate>('comes') }, { weight: 2, arbitrary: fc.constant<Fate>('late') },
  { weight: 1, arbitrary: fc.constant<Fate>('lost') }, { weight: 1, arbitrary: fc.constant<Fate>('twice') }
), { minLength: 2, maxLength: 2 })

function step<T extends unknown[]> (
  name: string, inputs: { [K in keyof T]: fc.Arbitrary<T[K]> }, run: (world: World, ...values: T) => void
): fc.Arbitrary<Step> {
  return fc.tuple(...inputs as unknown as fc.Arbitrary<unknown>[]).map((values) => ({
    name: `${name}(${JSON.stringify(values).slice(1, -1)})`,
    run: (world) => run(world, ...values as T),
    toString () { return this.name }
  }))
}

/** A message that was never published. */
function garbage (log: ModelLog, kind: number): LogEntry {
  const { epoch, offset, tag } = log.top ?? { epoch: 'x', offset: 0, tag: 0 }
  const position = [
    { epoch, offset: offset + 1_000, tag: 1, previousTag: 2 },
    { epoch, offset: offset + 1, tag: -1, previousTag: tag + 500_000 },
    { epoch, offset: Math.max(1, offset), tag: -2, previousTag: -3 },
    { epoch: 'other', offset: offset + 1, tag: -4, previousTag: tag }
  ][kind % 4] as { epoch: string, offset: number, tag: number, previousTag: number }
  return { from: 'x', timestamp: 0, event: 'message', json: '{}', position: { ...position, isMarker: false } }
}

/** A cursor that a client did not get from here: of any event that ever was, or forged. */
function foreign (log: ModelLog, kind: number, pick: number): Cursor | undefined {
  const records = [...log.records.values()]
  const record = records[pick % records.length]?.position
  if (record === undefined) return undefined
  const { epoch, offset, tag } = record
  return [
    { epoch, offset, tag },
    { epoch, offset, tag: 999_999_999 },
    { epoch, offset: offset + 100, tag },
    { epoch: 'none', offset, tag }
  ][kind % 4]
}

const steps = fc.oneof(
  { weight: 12, arbitrary: step('publish', [fates], (world, how) => world.publish({}, how)) },
  {
    weight: 1,
    arbitrary: step('publish large', [fates], (world, how) => {
      for (let n = 0; n < 3; n++) world.publish({ pad: PAD }, how)
    })
  },
  {
    weight: 1,
    arbitrary: step('publish many', [fates], (world, how) => {
      for (let n = 0; n < 280; n++) world.publish({}, how)
    })
  },
  { weight: 2, arbitrary: step('ephemeral', [fates], (world, how) => world.ephemeral(how)) },
  {
    weight: 4,
    arbitrary: step(
      'take',
      [index, index, fc.constantFrom('comes', 'comes', 'twice', 'lost')],
      (world, at, which, fate) => world.process(at).take(which, fate)
    )
  },
  {
    weight: 1,
    arbitrary: step('garbage', [index, index], (world, at, kind) => {
      if (world.process(at).subscribed) world.process(at).room.chatLog.receive(garbage(world.log, kind), true)
    })
  },
  { weight: 1, arbitrary: step('trim', [index], (world, keep) => world.log.trim(keep)) },
  { weight: 1, arbitrary: step('expire', [], (world) => world.log.trim(0)) },
  { weight: 1, arbitrary: step('lose meta', [], (world) => { world.dirty(); world.log.loseMeta() }) },
  {
    weight: 2,
    arbitrary: step('fall back', [index, fc.boolean()], (world, count, withFence) => {
      world.dirty()
      world.log.fallBack(count % 4, withFence)
    })
  },
  { weight: 4, arbitrary: step('live', [index], (world, at) => world.process(at).live()) },
  { weight: 1, arbitrary: step('lost', [index], (world, at) => world.process(at).lose()) },
  { weight: 1, arbitrary: step('restart', [index], (world, at) => world.process(at).restart()) },
  {
    weight: 8,
    arbitrary: step(
      'read',
      [index, fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true))],
      (world, which, fails) => world.log.step(which, fails)
    )
  },
  {
    weight: 1,
    arbitrary: step('reads', [fc.boolean()], (world, prompt) => {
      world.log.heal()
      world.log.prompt = prompt
    })
  },
  { weight: 3, arbitrary: step('timers', [], () => timers.fire()) },
  {
    weight: 2,
    arbitrary: step('idle check', [index, fc.boolean()], (world, at, stale) => {
      world.process(at).room.chatLog.reconcile(stale ? world.staleTop : world.log.top)
      world.staleTop = world.log.top
    })
  },
  {
    weight: 3,
    arbitrary: step('come', [index, index, fc.boolean()], (world, who, at, slow) =>
      client(world, who).join(world.process(at).room, {}, slow)
    )
  },
  {
    weight: 6,
    arbitrary: step('return', [index, index, fc.boolean()], (world, who, at, slow) => {
      client(world, who).join(world.process(at).room, { after: client(world, who).cursor }, slow)
    })
  },
  {
    weight: 2,
    arbitrary: step('rewind', [index, index, fc.nat(5)], (world, who, at, rewind) =>
      client(world, who).join(world.process(at).room, { rewind })
    )
  },
  {
    weight: 2,
    arbitrary: step('foreign', [index, index, index, fc.nat()], (world, who, at, kind, pick) => {
      client(world, who).join(world.process(at).room, { after: foreign(world.log, kind, pick) })
    })
  },
  {
    weight: 1,
    arbitrary: step('invalid', [index, index], (world, who, at) =>
      client(world, who).join(world.process(at).room, { after: 'invalid' })
    )
  },
  { weight: 2, arbitrary: step('leave', [index], (world, who) => client(world, who).leave()) },
  { weight: 2, arbitrary: step('drain', [index], (world, who) => client(world, who).connection?.drain()) }
)

function client (world: World, who: number): ModelClient {
  return world.clients[who % world.clients.length] as ModelClient
}

t.test(`whatever is lost, doubled or late, a client sees one chain or gets a reset (SEED=${SEED})`, async (t) => {
  timers.install()
  t.teardown(() => timers.uninstall())
  const resets = new Map<string, number>()
  let events = 0
  await fc.assert(fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 60, size: 'max' }), async (steps) => {
    const world = new World()
    for (const { run } of steps) {
      run(world)
      await turn()
      await turn()
      world.judge()
    }
    await world.end()
    for (const client of world.clients) {
      events += client.events.length
      for (const reason of client.resets) resets.set(reason, (resets.get(reason) ?? 0) + 1)
    }
    for (const { room } of world.processes) room.close()
    timers.clear()
  }), { numRuns: RUNS, seed: SEED, endOnFailure: process.env.SHRINK === undefined })
  t.comment(`${events} events, resets: ${JSON.stringify(Object.fromEntries(resets))}`)
  for (const reason of ['epoch', 'ahead', 'diverged', 'expired', 'trimmed', 'invalid', 'failover']) {
    t.ok(resets.get(reason), `${reason} was sent`)
  }
})
