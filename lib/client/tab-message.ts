import type { StreamEvent } from './stream-event.ts'
import type { ConnectionState } from './connection.ts'
import type { Refusal } from './refusal.ts'

/** The chats of a tab, and its position in each. */
export type TabChats = Record<string, string | undefined>

/**
 * The messages between tabs. The leader sends events, states and refusals; the others send their chats. These names
 * must stay: tabs with two versions of this client may run beside each other.
 */
export type Message =
  | { type: 'lead' }
  | { type: 'want', wanted: TabChats, joined?: string | undefined }
  | { type: 'event', delivery: StreamEvent }
  | { type: 'state', state: ConnectionState }
  | { type: 'refused', refusal: Refusal }
  | { type: 'reconnect' }

/** The states that the leader may send. */
const STATES: Record<ConnectionState, true> = { offline: true, connecting: true, open: true, stopped: true, idle: true }
/** An ill-formed id can't be sent, and would block all other chats. */
const CHAT_ID = /^\P{Cs}+$/u

/**
 * Validates data from the channel of the tabs: any script of this origin can write to it, and so can another version of
 * this client. Returns `undefined` for anything but a valid message.
 */
export function readMessage (data: unknown): Message & { from: string } | undefined {
  // `isValid` has checked the fields of each type, which the compiler can't infer.
  if (isObject(data) && isText(data.from) && isValid(data)) return data as unknown as Message & { from: string }
  return undefined
}

function isValid ({ type, wanted, joined, delivery, state, refusal }: Record<string, unknown>): boolean {
  if (type === 'want') {
    return isTextOrAbsent(joined) && isObject(wanted) &&
      Object.entries(wanted).every(([chatId, id]) => CHAT_ID.test(chatId) && isTextOrAbsent(id))
  }
  if (type === 'event') {
    return isObject(delivery) && isText(delivery.chatId) && isText(delivery.event) &&
      [delivery.id, delivery.previous].every(isTextOrAbsent) &&
      (delivery.data === undefined || isObject(delivery.data))
  }
  if (type === 'refused') {
    return isObject(refusal) && isText(refusal.message) && typeof refusal.status === 'number' &&
      [refusal.code, refusal.chatId].every(isTextOrAbsent)
  }
  if (type === 'state') return isText(state) && Object.hasOwn(STATES, state)
  return type === 'lead' || type === 'reconnect'
}

function isTextOrAbsent (value: unknown): boolean {
  return value === undefined || isText(value)
}

function isText (value: unknown): value is string {
  return typeof value === 'string'
}

function isObject (value: unknown): value is Record<string, unknown> {
  return Object.prototype.toString.call(value) === '[object Object]'
}
