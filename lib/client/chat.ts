import type { ChatEvent, ChatEventType } from '../event-types.ts'
import { MAX_REWIND } from './limits.ts'
import { lossOf, marker, type StreamEvent, type StartPosition } from './stream-event.ts'
import type { Refusal } from './refusal.ts'
import { epochOf, isAtOrBefore } from './event-id.ts'
import { createStateLoader, type Load, type LoadResult } from './state-loader.ts'
import { createConnection, type ConnectionOptions, type StreamConnection } from './connection.ts'
import { createListeners, type Listeners, type ListenOptions } from './listeners.ts'
import { request } from './request.ts'
import { textOf } from './shape.ts'

/** Metadata that a handler gets beside the event. */
export interface EventInfo {
  /**
   * The event id, the same as in the publisher's receipt. Absent for ephemeral events, and if the server keeps no
   * history.
   */
  id?: string | undefined
}

/** Reports that events may be missing. */
export interface Reset {
  /**
   * `epoch`, `ahead`, `diverged`, `expired`, `trimmed`, `invalid`, `failover`, `no-history` if the server keeps no
   * history or kept none before, or `unknown` if the reason could not be read.
   */
  reason: string
  /** `true` if events are certainly missing; `false` if they may be. */
  certain: boolean
}

/** An event of one type, or of any type with `'*'`. */
export type EventOf<Type extends ChatEventType | '*'> = ChatEvent<Type extends ChatEventType ? Type : ChatEventType>

/** An open chat. */
export interface RealtimeChat {
  readonly id: string
  /** The id of the last event that was delivered. Pass it as `after` when a later page opens the chat. */
  readonly lastEventId: string | undefined
  /** Resolves once the stream has begun: from then on no event is missed. Stays pending if that does not happen. */
  readonly ready: Promise<void>
  /**
   * Calls `handler` with each event of a type, or with all events for `'*'`, once and in order. Returns a function that
   * removes the handler.
   */
  on<Type extends ChatEventType | '*'> (
    type: Type, handler: (event: EventOf<Type>, info: EventInfo) => unknown, options?: ListenOptions
  ): () => void
  /**
   * Calls `handler` when events may be missing: reload the chat from your database, unless it has a `load`, which is
   * called next. Later events are those after the gap. Returns a function that removes the handler.
   */
  onReset (handler: (reset: Reset) => unknown, options?: ListenOptions): () => void
  /**
   * Requests a path of this chat from the server, such as `/bot-messages/42`, with the `headers` and the `fetch` of the
   * client. Rejects once the signal aborts. Resolves with `Response.error()` if a part of the path is `.` or `..`, as
   * with such a chat id.
   */
  request (path: string, signal: AbortSignal): Promise<Response>
  /** Aborts when the chat is closed. */
  readonly signal: AbortSignal
  /** Closes the chat. No handler is called afterwards. */
  close (): void
}

/** Options of a chat: its start position, and a signal that closes it. */
export interface ChatOptions extends ListenOptions {
  /**
   * The id of the last event that the page has, from `lastEventId` or from a publisher's receipt. The events after it
   * are delivered first. With `load`, the page has the state from there, so `load` is called at resets only.
   * @default none
   */
  after?: string | undefined
  /** How many of the latest events are delivered first, if there is neither `after` nor `load`. @default 0 */
  rewind?: number | undefined
  /**
   * Fetches the state of the chat from your server, and reads the result of `chatEvents.lastEventId(chatId)` before the
   * rows. It is called once the stream has begun, and again after each reset. Events wait meanwhile; then those after
   * `lastEventId` are delivered. If it fails, that is written to the console, and it is called again after a while.
   * @default none
   */
  load?: Load | undefined
}

/** Dependencies that the client passes to a chat. */
interface ChatContext {
  connection: ConnectionOptions
  refused (refusal: Refusal): void
  closed (): void
}

/** How many characters of events are held. */
const MOST_HELD = 2 ** 20

/** An open chat, as the client sees it. */
export interface Chat extends RealtimeChat {
  /** The start position for a connection that does not carry this chat yet. */
  position (): StartPosition
  /**
   * Handles an event of this chat from the shared connection, which this tab or another one holds. An event is
   * delivered only if it directly follows the previous one. Otherwise the chat reads the missing events on a
   * connection of its own until it has reached the shared one.
   */
  receive (streamEvent: StreamEvent): void
  /** Handles a refusal of this chat: its state is loaded once the chat is on a connection again. */
  refused (): void
  /** Restarts the catch-up connection, which the server may have refused. */
  reconnect (): void
}

export function createChat (
  id: string, { after, rewind: rewindOption = 0, load }: ChatOptions, context: ChatContext
): Chat {
  const handlers = new Map<string, Listeners<[ChatEvent, EventInfo]>>()
  const resets = createListeners<[Reset]>()
  const closing = new AbortController()
  const { signal } = closing
  // A number that the server accepts: a wrong one would make it refuse the whole request.
  const rewind = load ? 0 : Math.min(Math.max(Math.trunc(rewindOption) || 0, 0), MAX_REWIND)
  const loader = load && createStateLoader((context) => {
    if (heldSize > MOST_HELD) heldSize = 0
    return load(context)
  }, loaded)
  let setReady: () => void
  const ready = new Promise<void>((resolve) => { setReady = resolve })
  /**
   * `connecting` until the start position is known, and `loading` while the app loads its state. Then `open` from
   * event to event.
   */
  let progress: 'connecting' | 'loading' | 'open' = after ? 'open' : 'connecting'
  /**
   * The last event that was delivered, or the position at which loading began. Absent while `open` if the server
   * keeps no history: a loss of events can't be seen then.
   */
  let cursor = after || undefined
  /** The position of the last reset. */
  let resetAt: string | undefined
  /** Why the state is to be loaded. */
  let loadReason = 'start'
  /** Whether `position` was called: the shared connection then starts where this chat asks for. */
  let startRequested = false
  /** Events that arrived while earlier ones are missing, or while the app loads its state. */
  let held: StreamEvent[] = []
  /**
   * How many characters were held since the last time that none were. If there were too many, since the latest call of
   * `load` began.
   */
  let heldSize = 0
  /** A connection for this chat alone, used to catch up. */
  let catchUpConnection: StreamConnection | undefined

  function receive (streamEvent: StreamEvent): void {
    if (signal.aborted) return
    if (progress === 'connecting') start(streamEvent)
    else if (progress === 'open' || streamEvent.event === 'reset') process(streamEvent, true)
    else hold(streamEvent)
  }

  function start (streamEvent: StreamEvent): void {
    const { event, id } = streamEvent
    const rewinds = rewind > 0 && id
    // The shared connection rewinds only for the object whose `position` it used. Others rewind by catching up.
    if (event === 'ready' && (startRequested || !rewinds)) {
      moveTo(id)
      startLoading()
    } else if (rewinds) {
      hold(streamEvent)
      catchUp()
    }
  }

  function startLoading (repeats = false): void {
    if (!loader || signal.aborted) return
    progress = 'loading'
    endCatchUp()
    loader.start(loadReason, repeats)
  }

  /** Continues after the state was loaded. Throws if it is not known which events follow it. */
  function loaded (lastEventId: LoadResult['lastEventId']): void {
    const previous = cursor
    // Without a history there are no positions to compare.
    const next = previous && (textOf(lastEventId) || previous)
    // If the log has begun anew, the stream gets a reset. Without a log, events that were dropped can't be read again.
    if (epochOf(next) !== epochOf(previous) || (heldSize > MOST_HELD && !previous)) {
      throw Error(previous ? 'lastEventId is of another log' : 'Too many events')
    }
    moveTo(next)
    // If the state is from an earlier position than the stream, the marker shows that events are missing.
    for (const streamEvent of [marker(id, previous), ...held.splice(0)]) receive(streamEvent)
  }

  /** Moves to a position. Without one, the last position remains, if there is any. */
  function moveTo (position: string | undefined): void {
    cursor = position ?? cursor
    progress = 'open'
    setReady()
  }

  /**
   * Holds an event until those before it were delivered. If there are too many, only the last one with an id is kept: a
   * catch-up connection reads those before it.
   */
  function hold (streamEvent: StreamEvent): void {
    heldSize += JSON.stringify(streamEvent).length
    if (heldSize > MOST_HELD) held = held.filter(({ id }) => id).slice(-1)
    held.push(streamEvent)
  }

  /** Delivers an event if it comes next, holds it if earlier ones are missing, and drops it if it was delivered. */
  function process (streamEvent: StreamEvent, shared: boolean): void {
    const { event, id: position, previous, data } = streamEvent
    // A discontinuity marker is an event of the log, but the position may be one that the failover has lost. Any other
    // reset sets a new position, whatever the old one was.
    if (event === 'reset' && (
      !position || data?.reason !== 'failover' || progress === 'loading' ||
      (isAtOrBefore(position, cursor) && position !== resetAt)
    )) {
      // The shared connection may be ahead of the catch-up connection. An absent id belongs to no epoch.
      held = held.filter(({ id }) => !shared && isAtOrBefore(position as string, id))
      deliver(streamEvent, shared)
    } else if (!position) {
      // Both connections carry events without an id, so those of the catch-up connection are dropped.
      if (shared) deliver(streamEvent, shared)
    } else if (!cursor) {
      // The server has begun to keep a history. Events before this one may be missing.
      deliver(streamEvent, shared)
      deliver(lossOf(id, position), shared)
    } else if (previous === cursor) {
      deliver(streamEvent, shared)
    } else if (!isAtOrBefore(position, cursor)) {
      hold(streamEvent)
    }
    deliverHeld()
  }

  /** Delivers the held events that have no gap before them. Catches up while any are left, and stops otherwise. */
  function deliverHeld (): void {
    held = held.filter((streamEvent) => {
      // A handler or a reset may have changed that meanwhile.
      if (progress === 'loading') return true
      if (streamEvent.previous === cursor) deliver(streamEvent, true)
      return !isAtOrBefore(streamEvent.id as string, cursor)
    })
    if (held.length) catchUp()
    else endCatchUp()
  }

  /** Moves to the position of an event and calls its handlers. */
  function deliver ({ event, id, data }: StreamEvent, shared: boolean): void {
    moveTo(id)
    if (signal.aborted || event === 'ready') return
    if (event === 'reset') {
      cursor = resetAt = id
      // A reset whose data can't be read is still a reset.
      const reset = { reason: textOf(data?.reason) ?? 'unknown', certain: data?.certain === true }
      resets.notify(reset)
      loadReason = reset.reason
      return startLoading(!shared)
    }
    if (!data) return
    // The app defines the fields of an event, so they are not checked here.
    for (const type of [event, '*']) handlers.get(type)?.notify(data as ChatEvent, { id })
  }

  function catchUp (): void {
    if (catchUpConnection || signal.aborted || progress === 'loading') return
    catchUpConnection = createConnection(context.connection, {
      deliver: (streamEvent) => {
        // If the start position is unknown, it is where the catch-up connection starts.
        moveTo(cursor ?? streamEvent.id)
        process(streamEvent, false)
      },
      refused: context.refused
    })
    catchUpConnection.add(id, { id: cursor, rewind })
  }

  function endCatchUp (): void {
    catchUpConnection?.close()
    catchUpConnection = undefined
    heldSize = 0
  }

  return {
    id,
    ready,
    signal,
    get lastEventId () {
      return cursor
    },
    on (type, handler, options) {
      const listeners = handlers.get(type) ?? createListeners()
      handlers.set(type, listeners)
      // The handler only gets events of its type.
      return listeners.add(handler as unknown as (event: ChatEvent, info: EventInfo) => unknown, options)
    },
    onReset: resets.add,
    request: (path, signal) => request(context.connection, `/chats/${encodeURIComponent(id)}${path}`, signal),
    close () {
      closing.abort()
      loader?.stop()
      endCatchUp()
      context.closed()
    },
    position () {
      startRequested = true
      return { id: cursor, rewind }
    },
    receive,
    refused () {
      if (progress !== 'loading') return
      loader?.stop()
      held = []
      progress = 'connecting'
    },
    reconnect () {
      if (!catchUpConnection) return
      endCatchUp()
      catchUp()
    }
  }
}
