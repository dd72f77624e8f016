import type { ReservedEventType } from '../event-types.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import { NAME } from '../core/names.ts'

/**
 * Event names that apps must not publish:
 *
 * - `stream`: nothing can publish them. A stream writes them itself (`ready`, `reset`, `refused`), or an EventSource
 *   dispatches them itself: a published `error` would call every browser's `onerror`.
 * - `own`: only this package publishes them on the channel of a chat. Otherwise a client could forge presence or the
 *   end of a bot message.
 */
const reserved: Readonly<Record<ReservedEventType, 'stream' | 'own'>> = {
  ready: 'stream',
  reset: 'stream',
  refused: 'stream',
  error: 'stream',
  open: 'stream',
  bot_message: 'own',
  presence: 'own',
  typing: 'own'
}

function reservation (type: string): 'stream' | 'own' | undefined {
  // The cast is safe: `type` is one of the table's keys.
  return Object.hasOwn(reserved, type) ? reserved[type as ReservedEventType] : undefined
}

/** Whether an SSE frame can carry this event name and it has no special meaning there. */
export function isEventName (name: unknown): name is string {
  return typeof name === 'string' && NAME.test(name) && reservation(name) !== 'stream'
}

/** Whether apps must not publish chat events under this name. */
export function isReserved (type: unknown): boolean {
  return typeof type === 'string' && reservation(type) !== undefined
}

/** Throws `RT_EVENT_TYPE_INVALID` unless apps may publish chat events under this name. */
export function checkEventType (type: unknown): void {
  if (!isEventName(type) || isReserved(type)) {
    throw new RealtimeError('RT_EVENT_TYPE_INVALID', typeof type === 'string' ? `"${type.slice(0, 64)}"` : kindOf(type))
  }
}

/** Returns the SSE event name of a published value: its `type` if that is a valid name, otherwise `message`. */
export function eventName (data: unknown): string {
  const type = typeOf(data)
  return isEventName(type) ? type : 'message'
}

/**
 * Returns the `type` of a published value, if it has one. Never throws: an error of a getter or a Proxy surfaces when
 * the whole value is serialized.
 */
export function typeOf (data: unknown): unknown {
  try {
    return typeof data === 'object' && data !== null && 'type' in data ? data.type : undefined
  } catch {
    return undefined
  }
}
