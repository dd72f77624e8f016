import type { StreamEvent } from './stream-event.ts'
import type { ConnectionState } from './connection.ts'
import type { Refusal } from './refusal.ts'
import { isObject, isText, isTextOrAbsent } from './shape.ts'

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

const STATES: readonly unknown[] = ['idle', 'connecting', 'open', 'offline', 'stopped'] satisfies ConnectionState[]

type Fields = Record<string, unknown>

/** A check of the required fields for each type of message. */
const SHAPES: Record<Message['type'], (fields: Fields) => boolean> = {
  lead: () => true,
  want: ({ wanted, joined }) => isTextOrAbsent(joined) && isObject(wanted) &&
    Object.entries(wanted).every(([chatId, id]) => isChatId(chatId) && isTextOrAbsent(id)),
  event: ({ delivery }) => isObject(delivery) && isText(delivery.chatId) && isText(delivery.event) &&
    [delivery.id, delivery.previous].every(isTextOrAbsent) && (delivery.data === undefined || isObject(delivery.data)),
  state: ({ state }) => STATES.includes(state),
  refused: ({ refusal }) => isObject(refusal) && isText(refusal.message) && typeof refusal.status === 'number' &&
    [refusal.code, refusal.chatId].every(isTextOrAbsent),
  reconnect: () => true
}

/**
 * Validates data from the channel of the tabs: any script of this origin can write to it, and so can another version of
 * this client. Returns `undefined` for anything but a valid message.
 */
export function readMessage (data: unknown): Message & { from: string } | undefined {
  if (!isObject(data) || !isText(data.from) || !isText(data.type) || !Object.hasOwn(SHAPES, data.type)) return undefined
  // `SHAPES` has checked the fields of each type, which the compiler can't infer.
  return SHAPES[data.type as Message['type']](data) ? data as unknown as Message & { from: string } : undefined
}

/** An ill-formed id can't be sent, and would block all other chats. */
function isChatId (chatId: string): boolean {
  try {
    return encodeURIComponent(chatId) !== ''
  } catch {
    return false
  }
}
