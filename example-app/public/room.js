// @ts-check
import { BotMessageContent, endedMessage } from './bot-message-content.js'
import { foldPresence } from './fastify-realtime/client.js'
import { onBotMessage } from './fastify-realtime/client/bot-messages.js'
import { loadBefore, loadNewest } from './load-messages.js'
import { RoomHistory } from './room-history.js'
import { Thinking } from './thinking.js'
import { TypingUsers } from './typing-users.js'

/**
 * @typedef {import('../message.js').Message} Message
 * @typedef {import('./fastify-realtime/client.js').ChatEventMap['bot_message']} BotMessageEvent
 *
 * @typedef {object} BotMessage A bot message that is in progress, or not stored yet.
 * @property {string} id
 * @property {BotMessageContent} content
 * @property {number} at When the page first received a part of it.
 * @property {boolean} stopping Whether this page asked to stop it.
 * @property {number} [connection] The number of the connection that brought the last part before its end.
 * @property {Message} [ended] What it has become, once it has ended.
 *
 * @typedef {object} RoomEvents
 * @property {(room: Room, message: Message) => void} message An event brought a message.
 * @property {(room: Room, missed: Message[]) => void} loaded The room was loaded from the database. The page had missed
 * some of its messages.
 * @property {(room: Room) => void} earlier Earlier messages were loaded.
 * @property {(room: Room) => void} botMessages
 * @property {(room: Room) => void} thinking
 * @property {(room: Room) => void} typing
 * @property {(room: Room) => void} people
 */

/** A room: its newest messages in the database, and then the events of its stream. */
export class Room {
  #connection
  #events
  /** @type {import('./fastify-realtime/client.js').RealtimeChat | undefined} */
  #chat
  #loadingEarlier = false
  id
  name
  topic
  history = new RoomHistory()
  /** Those in progress, and those that are not stored yet. @type {Map<string, BotMessage>} */
  botMessages = new Map()
  /** The users who have this room open. @type {string[]} */
  people = []
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
    this.#connection = connection
    this.#events = events
  }

  /** Loads the room from the database, and follows its events from there. @param {string} [after] a position */
  open (after) {
    this.#chat?.close()
    const chat = this.#chat = this.#connection.open(this.id, { after, load: (context) => this.#load(context) })
    chat.on('message', ({ message }) => {
      this.typing.remove(message.author)
      this.#receive(message, Date.parse(message.sentAt) >= this.#connection.openedAt)
    })
    chat.on('bot_action', ({ action }) => this.thinking.update(action))
    onBotMessage(chat, (event) => this.#updateBotMessage(event))
    chat.on('bot_message_stored', ({ id }) => this.#addBotMessage(id))
    chat.on('typing', (signal) => this.typing.update(signal))
    chat.on('presence', (event) => {
      this.people = foldPresence(this.people, event)
      this.#events.people(this)
    })
  }

  /** Follows the room from a position that is in no log. */
  losePosition () {
    this.open('nowhere')
  }

  /** The connection broke. */
  disconnected () {
    this.thinking.clear()
  }

  /** Loads the messages before the oldest one that the page has. */
  async loadEarlier () {
    const { before } = this.history
    if (before === null || this.#loadingEarlier) return
    this.#loadingEarlier = true
    const page = await loadBefore(this.id, before).catch(() => undefined)
    this.#loadingEarlier = false
    // Unless the room was loaded again meanwhile.
    if (page === undefined || this.history.before !== before) return
    this.history.prepend(page)
    this.#events.earlier(this)
  }

  /** Asks to stop a bot message, on whichever instance writes it. @param {string} id */
  async stopBotMessage (id) {
    this.#setStopping(id, true)
    const url = `/api/chats/${encodeURIComponent(this.id)}/bot-messages/${encodeURIComponent(id)}/stop`
    const response = await fetch(url, { method: 'POST' }).catch(() => undefined)
    if (response?.ok !== true) this.#setStopping(id, false)
  }

  /**
   * The client calls this at the start and after each reset, and passes on the events after `lastEventId`.
   *
   * @param {import('./fastify-realtime/client.js').LoadContext} context
   */
  async #load ({ reason, signal }) {
    const page = await loadNewest(this.id, signal)
    const missed = reason === 'start' ? [] : page.messages.filter(({ id }) => !this.history.has(id))
    this.history.replace(page)
    for (const id of this.botMessages.keys()) if (this.history.has(id)) this.botMessages.delete(id)
    if (reason !== 'start') this.#connection.noteReload(reason, missed.length)
    this.#events.loaded(this, missed)
    return { lastEventId: page.lastEventId }
  }

  /** @param {BotMessageEvent} event */
  #updateBotMessage (event) {
    const { id, status } = event
    // It has ended, and the database has all of it.
    if (this.history.has(id)) return
    const before = this.botMessages.get(id)
    const { content = new BotMessageContent(), at = Date.now(), stopping = false } = before ?? {}
    content.add(event)
    const ended = status === 'streaming' ? undefined : endedMessage(event, content, new Date().toISOString())
    const connection = ended === undefined ? this.#connection.number : before?.connection
    this.botMessages.set(id, { id, content, at, stopping, connection, ended })
    this.#events.botMessages(this)
  }

  /** Only now it has a position among the messages, which is the same in the database. @param {string} id */
  #addBotMessage (id) {
    if (this.history.has(id)) return
    const { ended, connection } = this.botMessages.get(id) ?? {}
    // This page has not received its end.
    if (ended === undefined) return this.open()
    this.botMessages.delete(id)
    this.#receive(ended, connection === this.#connection.number)
    this.#events.botMessages(this)
  }

  /** @param {string} id @param {boolean} stopping */
  #setStopping (id, stopping) {
    const botMessage = this.botMessages.get(id)
    if (botMessage !== undefined) botMessage.stopping = stopping
    this.#events.botMessages(this)
  }

  /** @param {Message} message @param {boolean} live whether it was sent while the page was connected */
  #receive (message, live) {
    if (!this.history.add(message)) return
    if (!live) this.#connection.countMissed(1)
    this.#events.message(this, message)
  }
}
