import { setTimeout as delay } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import { PresenceReader } from '../support/presence-reader.ts'
import type { Random } from './random.ts'

/** A client abandons a stream that is silent for this long: heartbeats are far more frequent. */
const SILENCE_MS = 1_500

export interface PresentUserOptions {
  random: Random
  /** The URL of the instance for each connection of a tab. */
  pick (random: Random): string
  /** Whether it always has a tab open. */
  steady: boolean
}

/** A user with a chat open in one tab or more, each of which reconnects to another instance when its stream ends. */
export class PresentUser {
  readonly name: string
  readonly chatId: string
  readonly steady: boolean
  readonly tabs: Tab[] = []
  readonly faults: string[] = []
  streams = 0
  readonly #options: PresentUserOptions
  #expected: readonly string[] = []
  #longest = 0

  constructor (name: string, chatId: string, options: PresentUserOptions) {
    this.name = name
    this.chatId = chatId
    this.steady = options.steady
    this.#options = options
  }

  /** Opens one to three tabs. */
  open (): void {
    const count = 1 + Math.floor(this.#options.random.next() * 3)
    for (let n = 0; n < count; n++) this.tabs.push(new Tab(this, this.#options))
  }

  close (): void {
    for (const tab of this.tabs.splice(0)) {
      this.absent(tab)
      tab.close()
    }
  }

  /** From now on, measures for how long these users are missing in the tabs. */
  expect (names: readonly string[]): void {
    this.#expected = names
  }

  /** Records for how long a tab has missed a user by now. */
  absent (tab: Tab): void {
    for (const name of this.#expected) {
      const since = tab.missing.get(name)
      if (since !== undefined) this.#longest = Math.max(this.#longest, performance.now() - since)
      if (tab.users.has(name)) tab.missing.delete(name)
      else if (since === undefined) tab.missing.set(name, performance.now())
    }
  }

  /** The longest time in milliseconds for which an expected user was missing. */
  longestAbsence (): number {
    for (const tab of this.tabs) this.absent(tab)
    return this.#longest
  }

  /** Opens and closes tabs at random; a steady user only reloads them. */
  async comeAndGo (signal: AbortSignal): Promise<void> {
    const { random, steady } = this.#options
    while (!signal.aborted) {
      await delay(random.next() * 2_000)
      if (steady) random.pick(this.tabs).drop()
      else if (this.tabs.length > 0) this.close()
      else this.open()
    }
  }
}

/** One page that shows the users who are present. */
class Tab {
  users = new Set<string>()
  /** Since when each user is missing. */
  readonly missing = new Map<string, number>()
  readonly #user: PresentUser
  #abort = new AbortController()
  #closed = false

  constructor (user: PresentUser, options: PresentUserOptions) {
    this.#user = user
    this.#run(options)
  }

  get present (): string {
    return [...this.users].sort().join()
  }

  /** Reloads it. */
  drop (): void {
    this.#abort.abort()
  }

  close (): void {
    this.#closed = true
    this.drop()
  }

  async #run ({ random, pick }: PresentUserOptions): Promise<void> {
    while (!this.#closed) {
      this.#abort = new AbortController()
      await this.#stream(pick(random)).catch(() => {})
      await delay(20 + random.next() * 80)
    }
  }

  async #stream (url: string): Promise<void> {
    const abort = this.#abort
    const silence = setTimeout(() => abort.abort(), SILENCE_MS)
    const reader = new PresenceReader()
    try {
      const path = `/api/chats/${this.#user.chatId}/events?user=${this.#user.name}`
      const { body } = await fetch(url + path, { signal: abort.signal })
      this.#user.streams++
      const parser = createParser({
        onEvent: ({ event = 'message', id, data }) => {
          if (!reader.take({ event, id, data: JSON.parse(data) }) || this.#closed) return
          this.users = reader.present
          this.#user.absent(this)
        }
      })
      const decoder = new TextDecoder()
      for await (const chunk of body ?? []) {
        silence.refresh()
        if (abort.signal.aborted) return
        parser.feed(decoder.decode(chunk, { stream: true }))
      }
    } finally {
      clearTimeout(silence)
      abort.abort()
      this.#user.faults.push(...reader.faults)
    }
  }
}
