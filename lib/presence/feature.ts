import { checkOptions } from '../check-options.ts'
import { timing, type PresenceTimes } from '../options.ts'
import { Presence, readPresence } from '../presence.ts'
import { getChatChannel } from '../pubsub/channel.ts'
import { own } from '../pubsub/own-publish.ts'
import { reportFailure } from '../report-failure.ts'
import type { ChatFeature, FeatureContext } from '../rooms/chat-feature.ts'
import { PresenceView } from '../rooms/presence-view.ts'
import { TypingThrottle } from '../typing.ts'
import { checkUserId } from '../user-id.ts'

/** Options of presence. */
export interface PresenceFeatureOptions {
  /** When a user counts as gone; with `false` nothing is shown. @default false */
  presence?: PresenceTimes | false | undefined
}

/** Options of `emitTyping`. */
export interface TypingOptions {
  /** `false` says that the user has stopped. @default true */
  typing?: boolean | undefined
}

/** What presence adds to `ChatEvents`. */
export interface PresenceMethods {
  /**
   * Says to everyone who has the chat open, on every instance, that a user types, or has stopped. Call it as often as
   * you like: a sign that says nothing new is published once in two seconds. Clients show it for `expiresInMs`, so that
   * a user who is disconnected does not type for ever. Resolves with whether it was published. Rejects with
   * `RT_CHAT_ID_INVALID`, `RT_USER_ID_INVALID`, or as `publish` does.
   */
  emitTyping (chatId: string, user: string, options?: TypingOptions): Promise<boolean>
  /**
   * Resolves with the sorted ids of the users who are present in a chat at this moment, over all instances that have
   * the option `presence`. Rejects with `RT_CHAT_ID_INVALID`, `RT_STATE_UNAVAILABLE` or `RT_LOG_UNAVAILABLE`.
   */
  presence (chatId: string): Promise<string[]>
}

/** Presence: which users have a chat open, and who of them types. Throws `RT_STATE_UNAVAILABLE`. */
export function presence (context: FeatureContext<PresenceFeatureOptions>): ChatFeature<PresenceMethods> {
  const { pubsub, state, instanceId, log, options: { presence: times = false } } = context
  const typing = new TypingThrottle()

  async function emitTyping (chatId: string, user: string, options: TypingOptions | undefined): Promise<boolean> {
    const channel = getChatChannel(chatId)
    checkUserId(user)
    const { typing: value = true } = checkOptions(options, 'typing')
    // The value may come from a client as it is. Each object would count as a change.
    const types = Boolean(value)
    if (!typing.admits(chatId, user, types)) return false
    const event = { type: 'typing', user, expiresInMs: types ? timing.typingExpiry : 0, chatId }
    await pubsub.publish(channel, event, own({ ephemeral: true }))
    return true
  }

  const methods: PresenceMethods = {
    emitTyping: (chatId, user, options) =>
      reportFailure(() => emitTyping(chatId, user, options), log, { chatId, type: 'typing' }),
    presence: (chatId) => readPresence(state, chatId)
  }
  if (times === false) return { methods }
  const here = new Presence({ ...times, store: state, instanceId, log })
  return {
    methods,
    projection: (room) => new PresenceView(room, { instanceId, onGone: (chatId, userId) => here.restore(chatId, userId) }),
    onJoin: (chatId, stream) => here.add(chatId, stream),
    onRevoke: (chatId, userId) => here.remove(chatId, userId),
    // The leases run out by themselves: streams that end now say nothing about their users, who reconnect elsewhere.
    close: () => here.close()
  }
}
