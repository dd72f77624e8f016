// @ts-check
import { RoomHistory } from './room-history.js'
import { Thinking } from './thinking.js'
import { Typists } from './typists.js'

/**
 * @typedef {import('./room-history.js').Message} Message
 * @typedef {'live' | 'missed' | 'old'} When Whether a message is new, was missed while the page was away, or is from before its time.
 *
 * @typedef {object} Answer What there is of an answer that is being streamed.
 * @property {string} id
 * @property {string} text
 * @property {number} at When the page first saw it.
 * @property {boolean} stopping Whether its end was asked for here.
 * @property {number} connection On which connection it came last.
 *
 * @typedef {object} RoomEvents
 * @property {(room: Room, message: Message, when: When) => void} message
 * @property {(room: Room, reset: import('./fastify-realtime/client.js').Reset) => void} gap
 * @property {(room: Room) => void} answers
 * @property {(room: Room) => void} thinking
 * @property {(room: Room) => void} typing
 * @property {(room: Room) => void} people
 */

/** How many of the last events a page gets that comes for the first time. */
const REWIND = 50

/** A room, as the stream tells of it. */
export class Room {
  #connection
  #events
  /** @type {import('./fastify-realtime/client.js').RealtimeChat | undefined} */
  #chat
  /** The connection that brings the past. */
  #rewoundOn = 0
  id
  name
  topic
  history
  /** @type {Map<string, Answer>} */
  answers = new Map()
  /** Who is here. @type {Set<string>} */
  people = new Set()
  thinking = new Thinking(() => this.#events.thinking(this))
  typists = new Typists(() => this.#events.typing(this))

  /** @param {{ id: string, name: string, topic: string }} room @param {import('./connection.js').Connection} connection @param {RoomEvents} events */
  constructor ({ id, name, topic }, connection, events) {
    this.id = id
    this.name = name
    this.topic = topic
    this.history = new RoomHistory(id)
    this.#connection = connection
    this.#events = events
  }

  /** Follows it from where this tab has left it. */
  open () {
    this.#follow(this.history.lastEventId === '' ? undefined : this.history.lastEventId)
  }

  /** Follows it from a place that no log has, to see what happens then. */
  losePlace () {
    this.#follow('nowhere')
  }

  save () {
    if (this.#connection.live) this.history.completeUntil = Date.now()
    this.history.save(this.#chat?.lastEventId)
  }

  /** The connection broke. What was shown is complete up to now: from here on, something may be missed. */
  lost () {
    this.history.completeUntil = Date.now()
    this.thinking.clear()
  }

  /** Asks for the end of an answer, on whichever instance. @param {string} id */
  async stopAnswer (id) {
    this.#setStopping(id, true)
    const asked = await fetch(`/api/chats/${encodeURIComponent(this.id)}/answers/${encodeURIComponent(id)}/stop`, { method: 'POST' }).catch(() => undefined)
    if (asked?.ok !== true) this.#setStopping(id, false)
  }

  /** @param {string | undefined} after */
  #follow (after) {
    this.#chat?.close()
    if (after === undefined) this.#rewoundOn = this.#connection.number + 1
    const chat = this.#chat = this.#connection.open(this.id, { after, rewind: REWIND })
    chat.on('message', ({ message }) => {
      this.typists.remove(message.author)
      this.#take(message, Date.parse(message.sentAt) >= this.#connection.openedAt)
    })
    chat.on('bot_action', ({ action }) => this.thinking.take(action))
    chat.on('bot_message', (piece) => this.#answer(piece))
    chat.on('typing', (sign) => this.typists.take(sign))
    chat.on('presence', ({ users, joined = [], left = [] }) => {
      this.people = new Set([...users ?? this.people, ...joined].filter((user) => !left.includes(user)))
      this.#events.people(this)
    })
    chat.onReset((reset) => this.#reset(reset))
  }

  /** @param {import('./fastify-realtime/client.js').ChatEventMap['bot_message']} piece */
  #answer ({ id, status, at, text, extra, error }) {
    const before = this.answers.get(id)
    const whole = (before?.text ?? '').slice(0, at) + text
    const { number } = this.#connection
    if (status === 'streaming') {
      this.answers.set(id, { id, text: whole, at: before?.at ?? Date.now(), stopping: before?.stopping ?? false, connection: number })
    } else {
      this.answers.delete(id)
      // Only who finishes says when. Of the others it is known by who was there.
      const sentAt = extra?.sentAt ?? new Date(before === undefined ? this.history.lastAt : Date.now()).toISOString()
      this.#take({ id, text: whole, author: 'Robo', role: 'bot', sentAt, ...status !== 'finished' && { fate: status, error } }, before?.connection === number)
    }
    this.#events.answers(this)
  }

  /** @param {string} id @param {boolean} stopping */
  #setStopping (id, stopping) {
    const answer = this.answers.get(id)
    if (answer !== undefined) answer.stopping = stopping
    this.#events.answers(this)
  }

  /** @param {Message} message @param {boolean} live */
  #take (message, live) {
    if (this.history.has(message.id)) return
    const when = live ? 'live' : this.#connection.number === this.#rewoundOn ? 'old' : 'missed'
    if (when === 'missed') this.#connection.countMissed()
    this.#events.message(this, message, when)
  }

  /** @param {import('./fastify-realtime/client.js').Reset} reset */
  #reset (reset) {
    this.#connection.countReset()
    this.answers.clear()
    this.#events.answers(this)
    this.#events.gap(this, reset)
    // The stream goes on behind the gap, except after a failover. An app that keeps its messages in a database would read them there.
    if (reset.reason !== 'failover') this.#follow(undefined)
  }
}
