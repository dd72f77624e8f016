import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import type { InstanceProcess } from '../support/instance-process.ts'
import { HoppingClient } from './hopping-client.ts'
import type { Random } from './random.ts'

/** A publish without a response by now is retried elsewhere. */
const PATIENCE_MS = 6_000

/** How long a probe may take to reach all clients, before a newer one is tried. */
const PROBE_MS = 500

/** Several instances as processes of their own, clients that hop between them, and publishers that don't give up. */
export class Crowd {
  readonly instances: InstanceProcess[]
  readonly clients: HoppingClient[] = []
  /** The event ids that publishers received, by chat. */
  readonly acknowledged = new Map<string, string[]>()
  retries = 0
  readonly t: Test
  readonly random: Random
  #probes = 0

  constructor (t: Test, random: Random, instances: InstanceProcess[]) {
    this.t = t
    this.random = random
    this.instances = instances
  }

  /**
   * Opens a chat and resolves once the client has its position in it. The client hops between the instances, unless it
   * is `bound` to one address.
   */
  async join (
    chatId: string, signal: AbortSignal, bound?: { url: string }, options?: { patient: boolean }
  ): Promise<HoppingClient> {
    const random = this.random.of(`client ${this.clients.length}`)
    const client = new HoppingClient(chatId, () => (bound ?? random.pick(this.instances)).url, { random, ...options })
    this.t.teardown(() => client.close())
    this.clients.push(client)
    await client.ready(signal)
    return client
  }

  /** Publishes numbers one after another, each until an instance acknowledges it. */
  async publish (
    chatId: string,
    by: string,
    count: number,
    paceMs: number,
    { from = 1, text }: { from?: number, text?: string } = {}
  ): Promise<void> {
    const random = this.random.of(`publisher ${chatId} ${by}`)
    for (let n = from; n < from + count; n++) {
      await this.#publishOne(chatId, { by, n, text }, random)
      await delay(random.next() * 2 * paceMs)
    }
  }

  /** Publishes numbers one after another. Returns a function that stops this and resolves with the last number. */
  publishSteadily (chatId: string, by: string, paceMs: number): () => Promise<number> {
    const stopping = new AbortController()
    const random = this.random.of(`publisher ${chatId} ${by}`)
    let last = 0
    const run = async (): Promise<number> => {
      while (!stopping.signal.aborted) {
        await this.#publishOne(chatId, { by, n: ++last }, random)
        await delay(random.next() * 2 * paceMs)
      }
      return last
    }
    const done = run()
    return () => {
      stopping.abort()
      return done
    }
  }

  /** Resolves once all of these clients have seen an event that was published from now on through each instance. */
  async works (chatId: string, watchers: HoppingClient[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const n = ++this.#probes
      const all = await Promise.all(this.instances.map(async (instance) => {
        const by = `probe of ${instance.url}`
        await this.#publishOne(chatId, { by, n }, this.random, instance)
        return by
      }))
      const inTime = AbortSignal.timeout(PROBE_MS)
      // Redis may lose an acknowledged event while it is being replaced: then the next ones are seen.
      const seen = Promise.all(watchers.flatMap((client) => all.map((by) => client.saw(by, n, inTime))))
      if (await seen.then(() => true, () => false)) return
    }
    signal.throwIfAborted()
  }

  async #publishOne (
    chatId: string,
    message: { by: string, n: number, text?: string | undefined },
    random: Random,
    instance?: InstanceProcess
  ): Promise<void> {
    const acknowledged = this.acknowledged.get(chatId) ?? []
    this.acknowledged.set(chatId, acknowledged)
    for (;;) {
      try {
        const signal = AbortSignal.timeout(PATIENCE_MS)
        const key = `${message.by}-${message.n}`
        const response = await (instance ?? random.pick(this.instances)).post(chatId, message, { key, signal })
        const { id } = await response.json() as { id?: string }
        if (response.status === 202 && id !== undefined) {
          acknowledged.push(id)
          return
        }
        if (response.status !== 503) throw new Error(`A publish got the status ${response.status}`)
      } catch (error) {
        if (!(error instanceof TypeError) && !(error instanceof DOMException)) throw error
      }
      this.retries++
      await delay(50)
    }
  }
}
