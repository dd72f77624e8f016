import type { BotMessagePiece } from '../../../lib/index.ts'
import { until } from '../../support/until.ts'
import type { Site } from './site.ts'

/** What can happen to a reader while an answer grows. */
export const faults = [
  'its instance is killed', 'its connection is cut', 'Redis is frozen', 'a second reader comes', 'it is reloaded'
] as const

export type Fault = typeof faults[number]

/** The part of a `UIMessage` of the AI SDK that tests look at. */
export interface Message {
  id: string
  role: string
  parts: { type: string, text?: string }[]
}

/** How many characters the reasoning has. It comes before the stages of the text. */
export const REASONING = 70

/** How many characters a word has. */
export const WORD = 6

/** A page in which a user reads a chat. */
export interface Reader {
  /** The address of the instance that it reads from. */
  readonly instance: string | undefined
  /** Resolves once it reads from an instance that may be another one. */
  opensStream (): Promise<void>
  /** Sends a message. Resolves once it is being answered. */
  ask (): Promise<void>
  /** Resolves once it shows so many characters of the answer. */
  shows (characters: number): Promise<void>
  reload (): Promise<void>
  close (): Promise<void>
}

/** An answer of the scripted model, and those who read it. */
export class Answer<R extends Reader> {
  readonly readers: R[] = []
  readonly #site: Site
  readonly #chatId: string
  readonly #openReader: (url: string) => Promise<R>
  readonly #query: string
  /** The address of the instance that produces it. */
  #producer: string | undefined

  constructor (site: Site, chatId: string, openReader: (url: string) => Promise<R>, sdk?: string) {
    this.#site = site
    this.#chatId = chatId
    this.#openReader = openReader
    this.#query = sdk === undefined ? '' : `?sdk=${sdk}`
  }

  async open (): Promise<R> {
    const reader = await this.#openReader(this.#site.url)
    this.readers.push(reader)
    return reader
  }

  /** Lets a reader ask for it. */
  async ask (reader: R): Promise<void> {
    await reader.ask()
    const asked = await Promise.all(this.#site.instances.map(async (url) => {
      return { url, produces: await (await fetch(`${url}/produces/${this.#chatId}`)).json() as boolean }
    }))
    this.#producer = asked.find(({ produces }) => produces)?.url
  }

  /** Lets the model say the next stage. */
  async release (): Promise<void> {
    await fetch(`${this.#producer}/release/${this.#chatId}`, { method: 'POST' })
  }

  /** Disconnects all readers until it has ended. */
  async endMeanwhile (): Promise<void> {
    await this.#site.disconnectedWhile(async () => {
      await this.release()
      await until(() => this.ends(), ({ length }) => length === 1)
    })
  }

  /** The answer as it is without this package. */
  async undisturbed (): Promise<Message> {
    return await (await fetch(`${this.#producer}/undisturbed${this.#query}`)).json() as Message
  }

  async suffer (fault: Fault, reader: R): Promise<void> {
    if (fault === 'its instance is killed') await this.#site.replace(await this.elsewhere(reader))
    else if (fault === 'its connection is cut') this.#site.cut()
    else if (fault === 'a second reader comes') {
      // A browser has six connections to an origin.
      if (this.readers.length > 1) await this.readers.pop()?.close()
      await this.open()
    } else if (fault === 'it is reloaded') await reader.reload()
    else await this.#site.freezeRedis()
  }

  /** Resolves with the address of the instance that a reader reads from, once that is not the one that produces. */
  async elsewhere (reader: R): Promise<string | undefined> {
    while (reader.instance === this.#producer) {
      const opened = reader.opensStream()
      this.#site.cut()
      await opened
    }
    return reader.instance
  }

  /** Kills the instance that produces it. Resolves with the time. */
  async killProducer (): Promise<number> {
    const at = Date.now()
    await this.#site.kill(this.#producer)
    return at
  }

  /** Stops it through another instance. Resolves with how long it took until the signal aborted. */
  async stop (): Promise<number> {
    const aborted = fetch(`${this.#producer}/aborted/${this.#chatId}`)
    const other = this.#site.instances.find((url) => url !== this.#producer)
    const at = Date.now()
    await fetch(`${other}/api/chats/${this.#chatId}/stop`, { method: 'POST' })
    return await (await aborted).json() as number - at
  }

  /** The ends of bot messages in the log. */
  async ends (): Promise<BotMessagePiece[]> {
    return await this.#site.log(this.#chatId) as BotMessagePiece[] // The chat has no other events.
  }
}
