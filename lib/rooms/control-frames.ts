import { formatCursor, type Cursor } from '../cursor.ts'
import type { RealtimeErrorCode } from '../errors.ts'
import type { LogGap, Logged } from '../pubsub/provider.ts'
import { encodeFrame } from '../sse/frame.ts'

/** Why a client is told to reload: its place can't be followed, is no place, or events that were acknowledged may be missing. */
export type ResetReason = LogGap | 'invalid' | 'failover'

/** The first event of a stream. It sets the client's cursor, so that a drop before any other event can be made up for, too. */
export function ready (chatId: string, at: Cursor | undefined, resumed: boolean, retry: number): Buffer {
  return encodeFrame({ id: at && formatCursor(at), retry, event: 'ready', json: JSON.stringify({ chatId, resumed }) })
}

/** A chat that is left out of a stream of several, and why. It has no id, since the client's position in that chat stays. */
export function refused (chatId: string, code: RealtimeErrorCode): Buffer {
  return encodeFrame({ event: 'refused', json: JSON.stringify({ chatId, code }) })
}

/**
 * What proves a loss: the log holds, or held, events after the client's position that the client does not get. A new log, a log that has fallen
 * back, a restart and an id that can't be read prove nothing.
 */
const PROOF_OF_LOSS: ReadonlySet<ResetReason> = new Set<ResetReason>(['trimmed', 'expired', 'diverged'])

/** Tells a client that events may be missing before `at`, or that they are. */
export function reset (chatId: string, reason: ResetReason, at?: Cursor): Buffer {
  return encodeFrame({ id: at && formatCursor(at), event: 'reset', json: JSON.stringify({ chatId, reason, certain: PROOF_OF_LOSS.has(reason) }) })
}

/** An event of the log as streams get it. A fence is none of the app's: it tells that events may be missing. */
export function frameOf (chatId: string, { position, event, json }: Logged): Buffer {
  return position.fence ? reset(chatId, 'failover', position) : encodeFrame({ id: formatCursor(position), event, json })
}
