// @ts-check
/* global EventSource */

/**
 * @typedef {'connecting' | 'live' | 'reconnecting' | 'offline'} StreamState
 *
 * @typedef {object} StreamHandlers
 * @property {(state: StreamState) => void} state
 * @property {(resumed: boolean) => void} ready The stream is open; `resumed` says that nothing was missed since the last time.
 * @property {() => void} lost It broke while it was live.
 * @property {(certain: boolean) => void} reset Events were lost, for certain or perhaps.
 * @property {(message: import('./room-history.js').Message) => void} message
 * @property {(action: { actionType: string, inReplyTo?: string }) => void} botAction
 * @property {(chatId: string) => void} activity Somebody wrote in another room.
 * @property {(instanceId: string) => void} instance Who serves the stream.
 * @property {(lastEventId: string) => void} position Where the stream is now.
 *
 * @typedef {object} ServerEvents What the server sends, by the name of the event.
 * @property {{ resumed: boolean }} ready
 * @property {{ certain: boolean }} reset
 * @property {{ message: import('./room-history.js').Message }} message
 * @property {{ action: { actionType: string, inReplyTo?: string } }} bot_action
 * @property {{ chatId: string }} activity
 * @property {{ instanceId: string }} instance
 */

const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 15_000
/** How many of the last events a page gets that comes for the first time. */
const REWIND = 50

/** The events of one room at a time. An `EventSource` comes back by itself after a drop, and this one after an error answer too. */
export class ChatStream {
  #handlers
  /** @type {EventSource | undefined} */
  #source
  #chatId = ''
  #lastEventId = ''
  #live = false
  #wasLive = false
  #failures = 0
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry

  /** @param {StreamHandlers} handlers */
  constructor (handlers) {
    this.#handlers = handlers
    window.addEventListener('offline', () => this.#tellState())
    window.addEventListener('online', () => {
      if (!this.#live) this.#connect()
    })
  }

  get live () {
    return this.#live
  }

  /** Follows another room. @param {string} chatId @param {string} lastEventId where it was left, if that is known */
  open (chatId, lastEventId) {
    this.#chatId = chatId
    this.#lastEventId = lastEventId
    this.#live = this.#wasLive = false
    this.#failures = 0
    this.#connect()
  }

  close () {
    clearTimeout(this.#retry)
    this.#source?.close()
    this.#source = undefined
    this.#live = false
  }

  #connect () {
    this.close()
    if (this.#chatId === '') return
    const url = new URL(`/api/chats/${encodeURIComponent(this.#chatId)}/live`, window.location.href)
    // Only an `EventSource` that comes back by itself sends it as a header.
    if (this.#lastEventId !== '') url.searchParams.set('lastEventId', this.#lastEventId)
    else url.searchParams.set('rewind', String(REWIND))
    const source = this.#source = new EventSource(url)
    source.addEventListener('error', () => this.#broke(source))
    this.#listen(source, 'ready', ({ resumed }) => {
      this.#live = this.#wasLive = true
      this.#failures = 0
      this.#tellState()
      this.#handlers.ready(resumed)
    })
    this.#listen(source, 'reset', ({ certain }) => {
      this.#handlers.reset(certain)
      if (certain) this.#reload()
    })
    this.#listen(source, 'message', ({ message }) => this.#handlers.message(message))
    this.#listen(source, 'bot_action', ({ action }) => this.#handlers.botAction(action))
    this.#listen(source, 'activity', ({ chatId }) => this.#handlers.activity(chatId))
    this.#listen(source, 'instance', ({ instanceId }) => this.#handlers.instance(instanceId))
    this.#tellState()
  }

  /** Comes anew, for what the server has left. An app that keeps its messages in a database would read them there. */
  #reload () {
    this.#lastEventId = ''
    this.#connect()
  }

  /**
   * @template {keyof ServerEvents} Name
   * @param {EventSource} source
   * @param {Name} event
   * @param {(data: ServerEvents[Name]) => void} handler
   */
  #listen (source, event, handler) {
    source.addEventListener(event, ({ data, lastEventId }) => {
      // What a closed source had already queued belongs to the room before.
      if (source !== this.#source) return
      if (lastEventId !== '') {
        this.#lastEventId = lastEventId
        this.#handlers.position(lastEventId)
      }
      handler(JSON.parse(data))
    })
  }

  /** @param {EventSource} source */
  #broke (source) {
    if (source !== this.#source) return
    if (this.#live) this.#handlers.lost()
    this.#live = false
    // The browser gives up for good where the answer was no stream, such as 502 from a proxy.
    if (source.readyState === EventSource.CLOSED) {
      const wait = Math.min(FIRST_RETRY_MS * 2 ** this.#failures++, LAST_RETRY_MS)
      clearTimeout(this.#retry)
      this.#retry = setTimeout(() => this.#connect(), wait * (0.5 + Math.random() / 2))
    }
    this.#tellState()
  }

  #tellState () {
    this.#handlers.state(this.#live ? 'live' : !navigator.onLine ? 'offline' : this.#wasLive ? 'reconnecting' : 'connecting')
  }
}
