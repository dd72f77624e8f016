import type { FastifyInstance } from 'fastify'
import type { ChatOptions, LoadResult, RealtimeChat, RealtimeClient, Reset } from '../../../lib/client/index.ts'
import { until } from '../../support/until.ts'

/** The rows of the chat `a`. Each row is written before its event is published. */
export class Database {
  readonly rows = new Map<number, string>()
  readonly #app: FastifyInstance

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  async write (id: number, text: string): Promise<void> {
    this.rows.set(id, text)
    await this.#app.chatEvents.emitChatMessage('a', { id, text })
  }

  /** The first of the two reads of a `load`. */
  lastEventId (): Promise<string> {
    return this.#app.chatEvents.lastEventId('a')
  }
}

/** The state that a page builds from `load` and from the events that follow. */
export class StateReader {
  readonly rows = new Map<number, string>()
  /** The ids of the rows whose events were delivered. */
  readonly seen: number[] = []
  readonly resets: Reset[] = []
  readonly chat: RealtimeChat
  /** How many times `load` was called. */
  calls = 0
  /** Reads the rows: `load` waits for it after it has read the position. */
  release = (): void => {}
  readonly #database: Database

  constructor (client: RealtimeClient, database: Database, options: ChatOptions = {}) {
    this.#database = database
    this.chat = client.chat('a', { load: () => this.#load(), ...options })
    this.chat.on('message', ({ message }) => {
      const { id, text } = message as { id: number, text: string }
      this.seen.push(id)
      this.rows.set(id, text)
    })
    this.chat.onReset((reset) => { this.resets.push(reset) })
  }

  /** Resolves once `load` has read the position. */
  loads (): Promise<void> {
    return until(async () => this.calls, (calls) => calls === 1)
  }

  /** Resolves once the page has the row, from whichever side. */
  has (row: number): Promise<void> {
    return until(async () => this.rows.has(row), (isThere) => isThere)
  }

  /** Resolves once the event of the row was delivered. */
  sees (row: number): Promise<void> {
    return until(async () => this.seen.includes(row), (isThere) => isThere)
  }

  async #load (): Promise<LoadResult> {
    const lastEventId = await this.#database.lastEventId()
    this.calls++
    await new Promise<void>((resolve) => { this.release = resolve })
    this.rows.clear()
    for (const [id, text] of this.#database.rows) this.rows.set(id, text)
    return { lastEventId }
  }
}
