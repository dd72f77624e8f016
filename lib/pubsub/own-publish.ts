import { RealtimeError } from '../errors.ts'
import { checkOptions, invalid } from '../core/check-options.ts'
import { CHAT, checkChannel, checkIdempotencyKey, CONTROL } from './channel-name.ts'
import { checkEventType, isReserved, typeOf } from './event-name.ts'
import type { PublishOptions } from './provider.ts'

/** Marks a publish by this package. It is a symbol, since no JSON that an app takes from a client can contain it. */
const OWN = Symbol('fastify-realtime')

interface OwnOptions extends PublishOptions { [OWN]?: true }

/** Returns options for a publish by this package: of an event that apps can't publish, or on the control channel. */
export function own (options: PublishOptions = {}): PublishOptions {
  return { ...options, [OWN]: true } as OwnOptions
}

/**
 * Checks the arguments of a publish and returns its options. Throws `RT_CHANNEL_INVALID`, `RT_EVENT_TYPE_INVALID`,
 * `RT_OPTION_INVALID` or `RT_IDEMPOTENCY_KEY_INVALID`.
 */
export function checkPublish (
  channel: string,
  data: unknown,
  given: PublishOptions | undefined
): { ephemeral: boolean, idempotencyKey: string | undefined } {
  checkChannel(channel)
  const options: OwnOptions = checkOptions(given, 'idempotencyKey, ephemeral or traceparent')
  if (options[OWN] !== true) checkName(channel, data)
  const { ephemeral = false, idempotencyKey } = options
  if (typeof ephemeral !== 'boolean') {
    throw invalid('options.ephemeral', 'true or false', ephemeral, 'Leave it out for what shall be kept in the log')
  }
  return { ephemeral, idempotencyKey: checkIdempotencyKey(idempotencyKey) }
}

/** Rejects channels, and chat events, that only this package publishes. */
function checkName (channel: string, data: unknown): void {
  if (channel.startsWith(CONTROL)) {
    throw new RealtimeError(
      'RT_CHANNEL_INVALID',
    `one that begins with "${CONTROL}", which this package keeps for itself`
    )
  }
  if (!channel.startsWith(CHAT)) return
  const type = typeOf(data)
  if (isReserved(type)) checkEventType(type)
}
