import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Writable } from 'node:stream'
import { timing } from '../core/timing.ts'
import { formatCursor, type Cursor } from '../pubsub/cursor.ts'
import type { RealtimeError } from '../errors.ts'
import type { Envelope, EventLog, LogEntry, LogHead } from '../pubsub/event-log.ts'
import { getChatChannel } from '../pubsub/names.ts'
import { withProvider, type Command } from './command.ts'

/** Maximum number of events that one read returns. */
const PAGE_EVENTS = 500

/** Shows the last `count` events of a chat, and then each event that is published. */
export function tail (chatId: string, count: number): Command {
  return async (context) => {
    const channel = getChatChannel(chatId)
    const { stdout, stderr, signal } = context
    await withProvider(context, async (pubsub) => {
      // Present, since `withProvider` turns the history on.
      const log = pubsub.eventLog as EventLog
      const chatTail = new ChatTail({ log, channel, count, stdout, stderr, signal })
      const unfollow = pubsub.follow(channel, chatTail)
      await chatTail.run()
      unfollow()
    })
    return 0
  }
}

interface ChatTailOptions {
  log: EventLog
  channel: string
  count: number
  stdout: Writable
  stderr: Writable
  signal: AbortSignal
}

/**
 * Prints the log of a chat. What is published wakes it up, and it then reads the log: so it shows what the log holds,
 * whatever was lost on the way.
 */
class ChatTail {
  readonly #options: ChatTailOptions
  #position: Cursor | undefined
  #wake = new AbortController()
  /** The last problem that was printed, so that it is not repeated. */
  #problem = ''

  constructor (options: ChatTailOptions) {
    this.#options = options
  }

  live (): void {
    this.#wake.abort()
  }

  lost (): void {
    this.#wake.abort()
  }

  /** Events without a position are not in the log. While nothing reads the output, they are left out. */
  receive (envelope: Envelope): void {
    const { stdout } = this.#options
    if (envelope.position !== undefined) this.#wake.abort()
    else if (!stdout.writableNeedDrain) stdout.write(lineOf(envelope, '-'))
  }

  /** Resolves once the signal is aborted. */
  async run (): Promise<void> {
    const { signal } = this.#options
    while (!signal.aborted) {
      try {
        if (await this.#readPage()) continue
      } catch (error) {
        const { code, message } = error as RealtimeError // A log rejects with nothing else.
        this.#report(`${code}: ${message}`)
      }
      await this.#pause()
    }
  }

  /** Prints the next page. Returns whether more may follow. */
  async #readPage (): Promise<boolean> {
    const { log, channel } = this.#options
    this.#position ??= await this.#start()
    const page = await log.read(channel, this.#position, PAGE_EVENTS)
    if (page.gap === undefined) this.#problem = ''
    else await this.#reset(page.gap, page.head)
    for (const entry of page.entries) await this.#print(entry)
    return page.entries.length > 0
  }

  /** Returns the position before the last events. */
  async #start (): Promise<Cursor> {
    const { log, channel, count } = this.#options
    const { head, start } = await log.read(channel, undefined, Math.max(1, count), 0)
    return count === 0 ? head : start ?? head
  }

  async #print (entry: LogEntry): Promise<void> {
    const { position } = entry
    this.#position = position
    const id = formatCursor(position)
    await this.#write(position.isMarker ? resetLine('failover', id) : lineOf(entry, id))
  }

  async #reset (reason: string, head: LogHead): Promise<void> {
    this.#position = head
    const line = resetLine(reason, formatCursor(head))
    // A log that cannot be marked reports the same gap with each read.
    if (line !== this.#problem) await this.#write(line)
    this.#problem = line
  }

  #report (problem: string): void {
    if (problem !== this.#problem) this.#options.stderr.write(`${problem}\n`)
    this.#problem = problem
  }

  /** Waits until the output accepts more. */
  async #write (line: string): Promise<void> {
    const { stdout, signal } = this.#options
    if (!stdout.write(line)) await once(stdout, 'drain', { signal }).catch(() => {})
  }

  /** Waits until something was published. Looks now and then as well, since a message can be lost. */
  async #pause (): Promise<void> {
    const signal = AbortSignal.any([this.#options.signal, this.#wake.signal])
    await delay(timing.idleCheck, undefined, { signal }).catch(() => {})
    this.#wake = new AbortController()
  }
}

function resetLine (reason: string, id: string): string {
  return `${id} --- reset: ${reason}. Events before this line may be missing ---\n`
}

/** Control characters are escaped: they could change what a terminal shows. */
function lineOf ({ timestamp, event, json }: Envelope, id: string): string {
  const line = `${id} ${new Date(timestamp).toISOString()} ${event} ${json}`
  // eslint-disable-next-line no-control-regex
  return `${line.replace(/[\0-\x1f\x7f-\x9f]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`
}
