import type { Logger } from '../core/logger.ts'
import { promiseTry } from '../core/promise-try.ts'
import { logRecovered, logRepeated, type RecoverableFailure } from '../observability/repeated-failure.ts'
import { delayAfter } from './backoff.ts'
import { describeFailure } from './failure.ts'
import type { Listen } from './options.ts'

interface NotificationsOptions {
  channel: string
  log: Logger
  /** Called at each notification, and when listening begins: rows may have been added before. */
  onNotify (): void
}

const NOT_LISTENING: RecoverableFailure = {
  level: 'warn',
  message: 'The outbox cannot listen to its database, so it polls',
  recovered: 'The outbox listens to its database again'
}

/** Listens to the notifications of the database, again after each failure. */
export class Notifications {
  readonly #listen: Listen
  readonly #options: NotificationsOptions
  #failures = 0
  /** The current attempt. The callbacks of earlier ones do nothing. */
  #attempt: object | undefined
  #stopListening: unknown
  #retry: NodeJS.Timeout | undefined

  constructor (listen: Listen, options: NotificationsOptions) {
    this.#listen = listen
    this.#options = options
  }

  /** Whether each committed row is notified. */
  get isLive (): boolean {
    return this.#stopListening !== undefined
  }

  start (): void {
    const attempt = this.#attempt = {}
    const onLost = (): void => { if (this.#attempt === attempt) this.#lost(new Error('the connection has ended')) }
    const onNotify = (): void => { if (this.#attempt === attempt) this.#options.onNotify() }
    promiseTry(async () => await this.#listen(this.#options.channel, onNotify, onLost)).then((stop) => {
      if (this.#attempt !== attempt) return call(stop)
      this.#stopListening = stop ?? null
      this.#failures = 0
      logRecovered(this.#options.log, NOT_LISTENING)
      this.#options.onNotify()
    }, (error: unknown) => { if (this.#attempt === attempt) this.#lost(error) })
  }

  stop (): void {
    this.#attempt = undefined
    clearTimeout(this.#retry)
    const stop = this.#stopListening
    this.#stopListening = undefined
    call(stop)
  }

  #lost (error: unknown): void {
    this.stop()
    logRepeated(this.#options.log, NOT_LISTENING, describeFailure(error))
    this.#retry = setTimeout(() => this.start(), delayAfter(++this.#failures)).unref()
  }
}

/** Calls the function that stops listening. Its failure means that there is nothing left to stop. */
function call (stop: unknown): void {
  promiseTry(async () => typeof stop === 'function' ? await stop() : undefined).catch(() => {})
}
