import { checkOptions, type ValuesFrom } from '../core/options.ts'
import { PresenceTracker, readPresence } from './tracker.ts'
import { getChatChannel } from '../pubsub/names.ts'
import { asOwn } from '../pubsub/publisher.ts'
import { reportFailure } from '../observability/log-failure.ts'
import type { ChatFeature, FeatureContext, FeatureDefinition } from '../rooms/chat-feature.ts'
import { PresenceProjection } from './projection.ts'
import { TypingThrottle } from './typing-throttle.ts'
import { checkUserId } from '../core/user-id.ts'
import { presenceOptions } from './options.ts'
import { timing } from '../core/timing.ts'

/** Options of `emitTyping`. */
export interface TypingOptions {
  /** `false` if the user has stopped typing. @default true */
  typing?: boolean | undefined
}

/** The methods that presence adds to `ChatEvents`. */
export interface PresenceMethods {
  /**
   * Publishes to all clients of a chat, on every instance, that a user is typing or has stopped. Call it as often as
   * you like: without a change it is published once in two seconds at most. Clients show it for `expiresInMs`, so that
   * a disconnected user does not seem to type forever. Resolves with whether the event was published. Rejects with
   * `RT_CHAT_ID_INVALID`, `RT_USER_ID_INVALID`, or as `publish` does.
   */
  emitTyping (chatId: string, user: string, options?: TypingOptions): Promise<boolean>
  /**
   * Resolves with the sorted ids of the users who are present in a chat now, on all instances that have the option
   * `presence`. Rejects with `RT_CHAT_ID_INVALID`, `RT_STATE_UNAVAILABLE` or `RT_LOG_UNAVAILABLE`.
   */
  presence (chatId: string): Promise<string[]>
}

/** Presence: which users have a chat open, and which of them are typing. */
export const presence: FeatureDefinition<PresenceMethods, typeof presenceOptions> = {
  options: presenceOptions, create
}

/** Throws `RT_STATE_UNAVAILABLE`. */
function create (context: FeatureContext<ValuesFrom<typeof presenceOptions>>): ChatFeature<PresenceMethods> {
  const { pubsub, state, instanceId, log, options: { presence: times } } = context
  const throttle = new TypingThrottle()

  async function emitTyping (chatId: string, user: string, options: TypingOptions | undefined): Promise<boolean> {
    const channel = getChatChannel(chatId)
    checkUserId(user)
    const { typing: value = true } = checkOptions(options, 'typing')
    // The value may come unchecked from a client. Without the conversion each object would count as a change.
    const isTyping = Boolean(value)
    if (!throttle.admits(chatId, user, isTyping)) return false
    const event = { type: 'typing', user, expiresInMs: isTyping ? timing.typingExpiry : 0, chatId }
    await pubsub.publish(channel, event, asOwn({ ephemeral: true }))
    return true
  }

  const methods: PresenceMethods = {
    emitTyping: (chatId, user, options) =>
      reportFailure(() => emitTyping(chatId, user, options), log, { chatId, type: 'typing' }),
    presence: (chatId) => readPresence(state, chatId)
  }
  if (times === false) return { methods }
  const tracker = new PresenceTracker({ ...times, store: state, instanceId, log })
  return {
    methods,
    projection: {
      create: (room) => new PresenceProjection(room, {
        instanceId, onFieldDeleted: (chatId, userId) => tracker.restore(chatId, userId)
      })
    },
    onJoin: (chatId, stream) => tracker.add(chatId, stream),
    onRevoke: (chatId, userId) => tracker.remove(chatId, userId),
    close: () => tracker.close()
  }
}
