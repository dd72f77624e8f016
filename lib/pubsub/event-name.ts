import type { ReservedEventType } from '../event-types.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import { NAME } from '../core/names.ts'

/**
 * `stream`: a stream writes it itself, or an EventSource dispatches it itself, so that `error` would call every browser's `onerror`. It is not published at all.
 * `own`: only this package publishes it on the channel of a chat, so that a client can forge neither who is present nor how a bot message has ended.
 */
const reserved: Readonly<Record<ReservedEventType, 'stream' | 'own'>> = {
  ready: 'stream', reset: 'stream', refused: 'stream', error: 'stream', open: 'stream', bot_message: 'own', presence: 'own', typing: 'own'
}

function reservation (type: string): 'stream' | 'own' | undefined {
  return Object.hasOwn(reserved, type) ? reserved[type as ReservedEventType] : undefined // It is one of its keys.
}

/** Whether a message may be called so on its way: a name that an SSE frame can carry, and none that means something else there. */
export function isEventName (name: unknown): name is string {
  return typeof name === 'string' && NAME.test(name) && reservation(name) !== 'stream'
}

/** Whether an app may publish no event of a chat under this name. */
export function isReserved (type: unknown): boolean {
  return typeof type === 'string' && reservation(type) !== undefined
}

/** Throws `RT_EVENT_TYPE_INVALID` unless an app may publish events of a chat under this name. */
export function checkEventType (type: unknown): void {
  if (!isEventName(type) || isReserved(type)) throw new RealtimeError('RT_EVENT_TYPE_INVALID', typeof type === 'string' ? `"${type.slice(0, 64)}"` : kindOf(type))
}

/** The SSE name of a published value: its `type` where that can be one. */
export function eventName (data: unknown): string {
  const type = typeOf(data)
  return isEventName(type) ? type : 'message'
}

/** The `type` of a published value, if it has one. Never throws: what a getter or a Proxy throws shows where all of the value is read. */
export function typeOf (data: unknown): unknown {
  try {
    return typeof data === 'object' && data !== null && 'type' in data ? data.type : undefined
  } catch {
    return undefined
  }
}
