// @ts-check
import { BotMessageContent } from './bot-message-content.js'
import { onBotMessage } from './fastify-realtime/client/bot-messages.js'
import { RoomHistory } from './room-history.js'
import { Thinking } from './thinking.js'
import { TypingUsers } from './typing-users.js'

/**
 * @typedef {import('./room-history.js').Message} Message
 * @typedef {import('./fastify-realtime/client.js').ChatEventMap['bot_message']} BotMessageEvent
 * @typedef {import('./fastify-realtime/client.js').ChatEventMap['presence']} PresenceEvent
 *
 * @typedef {'live' | 'missed' | 'old'} Arrival Whether a message is new, was missed while the page was disconnected, or
 * was sent before the page was opened.
 *
 * @typedef {object} BotMessage A bot message in progress.
 * @property {string} id
 * @property {BotMessageContent} content
 * @property {number} at When the page first received a part of it.
 * @property {boolean} stopping Whether this page asked to stop it.
 * @property {number} connection The number of the connection that brought the last part.
 *
 * @typedef {object} RoomEvents
 * @property {(room: Room, message: Message, arrival: Arrival) => void} message
 * @property {(room: Room, reset: import('./fastify-realtime/client.js').Reset) => void} reset
 * @property {(room: Room) => void} botMessages
 * @property {(room: Room) => void} thinking
 * @property {(room: Room) => void} typing
 * @property {(room: Room) => void} people
 */

/** How many of the last events a new page gets. */
const REWIND = 50

/** A room, as its events describe it. */
export class Room {
  #connection
  #events
  /** @type {import('./fastify-realtime/client.js').RealtimeChat | undefined} */
  #chat
  /** The number of the connection that brings the history. */
  #rewoundOn = 0
  id
  name
  topic
  history
  /** Those in progress. @type {Map<string, BotMessage>} */
  botMessages = new Map()
  /** The users who have this room open. @type {Set<string>} */
  people = new Set()
  thinking = new Thinking(() => this.#events.thinking(this))
  typing = new TypingUsers(() => this.#events.typing(this))

  /**
   * @param {import('./room-list.js').RoomInfo} info
   * @param {import('./connection.js').Connection} connection
   * @param {RoomEvents} events
   */
  constructor ({ id, name, topic }, connection, events) {
    this.id = id
    this.name = name
    this.topic = topic
    this.history = new RoomHistory(id)
    this.#connection = connection
    this.#events = events
  }

  /** Follows the room from the position at which this tab left it. */
  open () {
    this.#follow(this.history.lastEventId === '' ? undefined : this.history.lastEventId)
  }

  /** Follows the room from a position that is in no log. */
  losePosition () {
    this.#follow('nowhere')
  }

  save () {
    if (this.#connection.live) this.history.completeUntil = Date.now()
    this.history.save(this.#chat?.lastEventId)
  }

  /** The connection broke. The history is complete up to now; later messages may be missed. */
  disconnected () {
    this.history.completeUntil = Date.now()
    this.thinking.clear()
  }

  /** Asks to stop a bot message, on whichever instance writes it. @param {string} id */
  async stopBotMessage (id) {
    this.#setStopping(id, true)
    const url = `/api/chats/${encodeURIComponent(this.id)}/bot-messages/${encodeURIComponent(id)}/stop`
    const response = await fetch(url, { method: 'POST' }).catch(() => undefined)
    if (response?.ok !== true) this.#setStopping(id, false)
  }

  /** @param {string | undefined} after */
  #follow (after) {
    this.#chat?.close()
    if (after === undefined) this.#rewoundOn = this.#connection.number + 1
    const chat = this.#chat = this.#connection.open(this.id, { after, rewind: REWIND })
    chat.on('message', ({ message }) => {
      this.typing.remove(message.author)
      this.#receive(message, Date.parse(message.sentAt) >= this.#connection.openedAt)
    })
    chat.on('bot_action', ({ action }) => this.thinking.update(action))
    onBotMessage(chat, (event) => this.#updateBotMessage(event))
    chat.on('typing', (signal) => this.typing.update(signal))
    chat.on('presence', (event) => this.#updatePeople(event))
    chat.onReset((reset) => this.#reset(reset))
  }

  /** @param {PresenceEvent} event */
  #updatePeople ({ users, joined = [], left = [] }) {
    this.people = new Set([...users ?? this.people, ...joined].filter((user) => !left.includes(user)))
    this.#events.people(this)
  }

  /** @param {BotMessageEvent} event */
  #updateBotMessage (event) {
    const { id, status } = event
    const before = this.botMessages.get(id)
    const { content = new BotMessageContent(), at = Date.now(), stopping = false } = before ?? {}
    content.add(event)
    if (status === 'streaming') {
      this.botMessages.set(id, { id, content, at, stopping, connection: this.#connection.number })
    } else {
      this.botMessages.delete(id)
      this.#receiveEnd(event, content, before)
    }
    this.#events.botMessages(this)
  }

  /**
   * The end of a bot message.
   *
   * @param {BotMessageEvent} event
   * @param {BotMessageContent} content
   * @param {BotMessage} [before]
   */
  #receiveEnd ({ id, status, extra, error }, { text, parts, sentAt: completedAt }, before) {
    // Only a finished one has a time. The end of another one is dated by when this page was connected.
    const sentAt = extra?.sentAt ?? completedAt ??
      new Date(before === undefined ? this.history.lastAt : Date.now()).toISOString()
    const outcome = /** @type {Message['outcome']} */ (status === 'finished' ? undefined : status)
    const live = before?.connection === this.#connection.number
    const content = text === undefined ? { text: '', parts } : { text }
    this.#receive({ id, ...content, author: 'Robo', role: 'bot', sentAt, ...outcome && { outcome, error } }, live)
  }

  /** @param {string} id @param {boolean} stopping */
  #setStopping (id, stopping) {
    const botMessage = this.botMessages.get(id)
    if (botMessage !== undefined) botMessage.stopping = stopping
    this.#events.botMessages(this)
  }

  /** @param {Message} message @param {boolean} live */
  #receive (message, live) {
    if (this.history.has(message.id)) return
    const arrival = live ? 'live' : this.#connection.number === this.#rewoundOn ? 'old' : 'missed'
    if (arrival === 'missed') this.#connection.countMissed()
    this.#events.message(this, message, arrival)
  }

  /** @param {import('./fastify-realtime/client.js').Reset} reset */
  #reset (reset) {
    this.#connection.noteReset(reset)
    this.#events.reset(this, reset)
    // After a failover the stream continues, and `onBotMessage` notices which bot messages have ended meanwhile.
    if (reset.reason === 'failover') return
    // Otherwise it continues after the gap. A real app would load the room from its database.
    this.botMessages.clear()
    this.#events.botMessages(this)
    this.#follow(undefined)
  }
}
