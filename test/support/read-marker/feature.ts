import { getChatChannel } from '../../../lib/index.ts'
import type { StateStore } from '../../../lib/index.ts'
import { milliseconds } from '../../../lib/core/option-kinds.ts'
import type { FeatureDefinition } from '../../../lib/rooms/chat-feature.ts'
import { encodeFrame } from '../../../lib/sse/frame.ts'

const PREFIX = 'read:'

/** The methods that read markers add to `ChatEvents`. */
export interface ReadMarkerMethods {
  /** Says which event of a chat a user has read last. */
  markRead (chatId: string, userId: string, eventId: string): Promise<void>
}

const options = {
  /** Milliseconds for which a read marker is kept. */
  readLeaseMs: milliseconds({ default: 60_000, from: 1, scope: 'process' })
}

/** A feature as an app might want it: each stream sees how far every user has read. `calls` notes how it is called. */
export function readMarkers (calls: string[]): FeatureDefinition<ReadMarkerMethods, typeof options> {
  return {
    options,
    create: (context) => {
      const { options: { readLeaseMs: leaseMs } } = context
      const state = context.state as StateStore // Its test has one.
      return {
        methods: {
          async markRead (chatId, userId, value) {
            const field = PREFIX + userId
            await state.change(getChatChannel(chatId), { operation: 'set', field, value, leaseMs })
          }
        },
        projection: {
          create: (room) => ({
            field: (name, after) => {
              if (name.startsWith(PREFIX) && after !== undefined) room.write(frame(name, after.value))
            },
            snapshot: () => [...room.fields].flatMap(
              ([name, { value }]) => name.startsWith(PREFIX) ? [frame(name, value)] : []
            )
          })
        },
        onJoin: (chatId, { userId }) => { calls.push(`join ${chatId} ${userId}`) },
        onRevoke: (chatId, userId) => { calls.push(`revoke ${chatId} ${userId}`) },
        onCleanup: () => { calls.push('cleanup') },
        close: () => { calls.push('close') }
      }
    }
  }
}

function frame (name: string, eventId: string): Buffer {
  return encodeFrame({ event: 'read', json: JSON.stringify({ userId: name.slice(PREFIX.length), eventId }) })
}
