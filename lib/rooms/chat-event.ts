import { parseJson } from '../core/json.ts'
import type { ChatEvent } from '../event-types.ts'
import { isReserved } from '../pubsub/names.ts'

/**
 * Parses an event that was published under a name. Returns `undefined` for one that handlers must not get. Throws
 * `RT_PAYLOAD_INVALID` if it is not JSON.
 */
export function parseEvent (name: string, json: string): ChatEvent | undefined {
  // Not checked: whatever publishes to the channel of a chat is responsible for valid events.
  const parsed = parseJson(json) as ChatEvent
  // Only this package publishes reserved types. A payload that has one, but was published under another name, was
  // published by an app: skip it.
  return isReserved(parsed?.type) && parsed.type !== name ? undefined : parsed
}
