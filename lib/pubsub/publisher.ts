import { toJson } from '../core/json.ts'
import type { Logger } from '../core/logger.ts'
import { checkOptions, invalid } from '../core/options.ts'
import { RealtimeError } from '../errors.ts'
import { logFailure, PUBLISHING, reportFailure, reportRejection } from '../observability/log-failure.ts'
import type { Metrics } from '../observability/metrics.ts'
import { logRecovered } from '../observability/repeated-failure.ts'
import { checkTraceparent, publishing, tracePublish } from '../observability/tracing.ts'
import type { Envelope, Replayable } from './event-log.ts'
import {
  CHAT, checkChannel, checkEventType, checkIdempotencyKey, CONTROL, eventName, isReserved, refuseOwnKey, typeOf
} from './names.ts'
import type { PubSubProvider, PublishOptions, PublishReceipt } from './provider.ts'

interface PublisherOptions {
  instanceId: string
  maxPayloadBytes: number
  log: Logger
  metrics: Metrics
  /** Logged at level debug after each publish. */
  message: string
  /** Throws once the provider is closed. */
  mustBeOpen (): void
  send (message: Outgoing): Promise<PublishReceipt>
}

/** A checked message, ready to be sent. */
export interface Outgoing {
  channel: string
  envelope: Envelope
  ephemeral: boolean
  /** The idempotency key, if the app gave one. */
  key: string | undefined
  /** Milliseconds to remember the key, if it is the key of a row of an outbox. */
  rowKeyTtlMs: number | undefined
}

/** Serializes a value into an envelope. Throws `RT_PAYLOAD_INVALID` or `RT_PAYLOAD_TOO_LARGE`. */
export function makeEnvelope (data: unknown, from: string, maxPayloadBytes: number, traceparent?: string): Envelope {
  const json = toJson(data)
  checkSize(json, maxPayloadBytes)
  return { from, timestamp: Date.now(), event: eventName(data), json, traceparent }
}

/** Throws `RT_PAYLOAD_TOO_LARGE`. */
export function checkSize (json: string, maxPayloadBytes: number): void {
  // A short text is not measured, since one UTF-16 unit takes at most three bytes.
  const bytes = json.length * 3 > maxPayloadBytes ? Buffer.byteLength(json) : 0
  if (bytes > maxPayloadBytes) throw new RealtimeError('RT_PAYLOAD_TOO_LARGE', `${bytes} of at most ${maxPayloadBytes}`)
}

/** Marks a publish by this package. It is a symbol, since no JSON that an app takes from a client can contain it. */
const OWN = Symbol('fastify-realtime')

/** How long the key of a row of an outbox is remembered, in milliseconds. A symbol, for the same reason. */
const ROW_KEY_TTL = Symbol('fastify-realtime row')

interface OwnOptions extends PublishOptions { [OWN]?: true, [ROW_KEY_TTL]?: number }

/** Marks the options of a publish by this package: of an event, on a channel or with a key that apps can't use. */
export function asOwn (options: PublishOptions = {}): PublishOptions {
  return { ...options, [OWN]: true } as OwnOptions
}

/**
 * The options of a publish of a row of an outbox. Its key is remembered for `ttlMs` milliseconds, and never collides
 * with an idempotency key of the app, which may let clients choose those. A provider of the app sees a normal key.
 */
export function asRow (idempotencyKey: string, ttlMs: number): PublishOptions {
  return { idempotencyKey, [ROW_KEY_TTL]: ttlMs } as OwnOptions
}

/** Whether a provider remembers the keys of rows for as long as it is asked. Providers of apps do not know these. */
export function remembersRows (provider: PubSubProvider & Partial<Replayable>): boolean {
  return methods.has(provider.publish) && provider.eventLog !== undefined
}

/** The methods that publish with a `Publisher`. */
const methods = new WeakSet<PubSubProvider['publish']>()

/**
 * The publishing half of a provider. Its `publish` checks, traces and counts each message, and logs a failure. It never
 * throws synchronously. A caller that ignores the promise causes no `unhandledRejection`.
 */
export class Publisher {
  readonly #options: PublisherOptions

  constructor (options: PublisherOptions) {
    this.#options = options
  }

  /** Declares that a provider's method returns the promise of a `Publisher`. See `publishWith`. */
  static isUsedBy (method: PubSubProvider['publish']): void {
    methods.add(method)
  }

  /** Messages are sent in the order of the calls. */
  publish (channel: string, data: unknown, options: PublishOptions | undefined): Promise<PublishReceipt> {
    const { log, message, metrics } = this.#options
    const startedAt = performance.now()
    // The options are not checked yet: `#send` does that, within the trace.
    const given = (options as PublishOptions | null | undefined)?.traceparent
    const published = publishing.hasSubscribers
      ? tracePublish(
        { channel, event: eventName(data), traceparent: given },
        (traceparent) => this.#send(channel, data, options, traceparent)
      )
      : this.#send(channel, data, options, given)
    // Registered before the caller's own reactions, so that the metrics are up to date when those run. Not part of the
    // returned promise: the caller need not wait for it.
    published.then(({ duplicate }) => {
      if (duplicate) metrics.duplicates.add('published')
      else metrics.published++
      metrics.onPublished?.((performance.now() - startedAt) / 1_000)
      logRecovered(log, PUBLISHING)
      log.debug({ channel }, message)
    }, (error: unknown) => {
      metrics.fail(error)
      logFailure(error, log, { channel })
    }).then(undefined, ignore)
    return published
  }

  /** Never throws synchronously. */
  #send (
    channel: string, data: unknown, options: PublishOptions | undefined, given: unknown
  ): Promise<PublishReceipt> {
    const { instanceId, maxPayloadBytes, mustBeOpen, send } = this.#options
    try {
      mustBeOpen()
      const traceparent = given === undefined ? undefined : checkTraceparent(given)
      const { ephemeral, key, rowKeyTtlMs } = checkPublish(channel, data, options)
      const envelope = makeEnvelope(data, instanceId, maxPayloadBytes, traceparent)
      return send({ channel, envelope, ephemeral, key, rowKeyTtlMs })
    } catch (error) {
      return Promise.reject(error)
    }
  }
}

/**
 * Publishes with any provider, and settles as `Publisher.publish` does. `make` returns the arguments of the publish; if
 * it throws, that counts as a failed publish. A provider of the app may leave its failures to the caller.
 */
export function publishWith (
  provider: PubSubProvider, make: () => [channel: string, data: unknown, options?: PublishOptions | undefined],
  log: Logger, context: object
): Promise<PublishReceipt> {
  try {
    const args = make()
    if (methods.has(provider.publish)) return provider.publish(...args)
    const options: OwnOptions | null | undefined = args[2]
    if (options?.[OWN] !== true) refuseOwnKey(options?.idempotencyKey)
    return reportFailure(() => provider.publish(...args), log, context)
  } catch (error) {
    return reportRejection(error, log, context)
  }
}

type CheckedOptions = Pick<Outgoing, 'ephemeral' | 'key' | 'rowKeyTtlMs'>

const WITHOUT_OPTIONS: CheckedOptions = { ephemeral: false, key: undefined, rowKeyTtlMs: undefined }

/**
 * Checks the arguments of a publish and returns its options. Throws `RT_CHANNEL_INVALID`, `RT_EVENT_TYPE_INVALID`,
 * `RT_OPTION_INVALID` or `RT_IDEMPOTENCY_KEY_INVALID`.
 */
function checkPublish (channel: string, data: unknown, given: PublishOptions | undefined): CheckedOptions {
  checkChannel(channel)
  if (given === undefined) {
    refuseReserved(channel, data)
    return WITHOUT_OPTIONS
  }
  const options: OwnOptions = checkOptions(given, 'idempotencyKey, ephemeral or traceparent')
  const { ephemeral = false, idempotencyKey, [ROW_KEY_TTL]: rowKeyTtlMs } = options
  if (options[OWN] !== true) {
    refuseReserved(channel, data)
    refuseOwnKey(idempotencyKey)
  }
  if (typeof ephemeral !== 'boolean') {
    throw invalid('options.ephemeral', 'true or false', ephemeral, 'Leave it out for events that belong in the log')
  }
  return { ephemeral, key: checkIdempotencyKey(idempotencyKey), rowKeyTtlMs }
}

/** Throws for a channel or a chat event that only this package publishes. */
function refuseReserved (channel: string, data: unknown): void {
  if (channel.startsWith(CONTROL)) {
    throw new RealtimeError(
      'RT_CHANNEL_INVALID', `one that begins with "${CONTROL}", which is reserved for this package`
    )
  }
  if (!channel.startsWith(CHAT)) return
  const type = typeOf(data)
  if (isReserved(type)) checkEventType(type)
}

function ignore (): void {}
