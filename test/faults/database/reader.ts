import { setTimeout as delay } from 'node:timers/promises'
import { createRealtimeClient, type RealtimeClient } from '../../../lib/client/index.ts'

export interface Item { id: string, body: string, version: number }

interface Change extends Item { isRemoved?: true }

/** A page that shows the items of a chat: those that it has loaded, changed by the events since. */
export class Reader {
  readonly chatId: string
  /** The changes that it has received, in order, with the number of times that it had loaded its items before. */
  readonly changes: { eventId: string | undefined, id: string, version: number, loads: number }[] = []
  readonly reasons: string[] = []
  readonly #items = new Map<string, Item>()
  readonly #client: RealtimeClient
  #cut = new AbortController()
  #away = Promise.resolve()

  /** `pick` returns the URL of an instance for each request. */
  constructor (chatId: string, pick: () => string) {
    this.chatId = chatId
    const request: typeof fetch = async (url, init) => {
      await this.#away
      const signals = [this.#cut.signal, ...init?.signal ? [init.signal] : []]
      return await fetch(new URL(String(url), pick()), { ...init, signal: AbortSignal.any(signals) })
    }
    this.#client = createRealtimeClient({ url: '/api', fetch: request, silenceMs: 2_000 })
    const chat = this.#client.chat(chatId, {
      load: async ({ reason, signal }) => {
        const response = await request(`/state/${chatId}`, { signal })
        if (!response.ok) throw new Error(`The state got the status ${response.status}`)
        const { lastEventId, items } = await response.json() as { lastEventId: string, items: Item[] }
        this.reasons.push(reason)
        this.#items.clear()
        for (const item of items) this.#items.set(item.id, item)
        return { lastEventId }
      }
    })
    chat.on('message', (event, { id: eventId }) => {
      const { id, body, version, isRemoved } = event.message as unknown as Change
      this.changes.push({ eventId, id, version, loads: this.reasons.length })
      if (isRemoved === true) this.#items.delete(id)
      else this.#items.set(id, { id, body, version })
    })
  }

  /** What it shows, in the order of the ids. */
  get items (): Item[] {
    return [...this.#items.values()].sort((one, other) => Number(one.id) - Number(other.id))
  }

  /** Breaks its connections, and opens none for a while. */
  leave (ms: number): void {
    this.#away = delay(ms)
    this.#cut.abort()
    this.#cut = new AbortController()
  }

  close (): void {
    this.#client.close()
  }
}
