import { parseCursor } from '../pubsub/cursor.ts'
import type { RealtimeError, RealtimeErrorCode } from '../errors.ts'
import type { ResumeRequest } from '../rooms/catch-up.ts'
import type { ChatFeature } from '../rooms/chat-feature.ts'
import type { EventSink } from '../rooms/event-sink.ts'
import { refusedFrame } from '../rooms/frames.ts'
import { parseMultiChatId } from '../rooms/multi-chat-id.ts'
import { MultiChatStream } from '../rooms/multi-chat-stream.ts'
import type { Room } from '../rooms/room.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Connection } from '../sse/connection.ts'

/** The position at which a client asks a stream to start. */
export interface StreamRequest {
  /** The last event that the client has. */
  lastEventId?: string | undefined
  /** For each chat, the number of past events that the client wants. */
  rewinds?: readonly number[] | undefined
}

/** The access of a request to one of its chats. */
export interface ChatAccess {
  readonly chatId: string
  readonly userId: string | undefined
  /** The error code if access is refused. */
  readonly refused: RealtimeErrorCode | undefined
  /** Refuses access. Does nothing if it was refused before. */
  refuse (error: RealtimeError): void
}

/** A stream that is about to join one chat. */
export interface Entrance {
  readonly stream: Pick<EventSink, 'closed' | 'end' | 'onClose'>
  /** Lets the stream join the chat, or leaves the chat if the stream has closed. */
  join (): void
  /** Ends the stream after the given milliseconds, unless it ends earlier. */
  endAfter (ms: number): void
}

/** Creates the entrances of a stream, one for each chat that it may join. Cannot fail. */
type MakeEntrances = (connection: Connection) => Entrance[]

/**
 * Lets streams into chats, in two steps. Entering the chats can fail, so it happens while the reply can still be an
 * error. The function that it returns is called with the connection, once the stream is open.
 */
export class Entrances {
  readonly #rooms: Rooms
  readonly #features: readonly ChatFeature[]

  constructor (rooms: Rooms, features: readonly ChatFeature[]) {
    this.#rooms = rooms
    this.#features = features
  }

  /** Enters a chat for a stream of its own. Throws `RT_CHAT_ID_INVALID`, `RT_TOO_MANY_ROOMS` or `RT_CLOSED`. */
  enter (chatId: string, { lastEventId, rewinds = [] }: StreamRequest = {}): MakeEntrances {
    const after = lastEventId === undefined ? undefined : parseCursor(lastEventId) ?? 'invalid'
    const resume: ResumeRequest = { after, rewind: rewinds[0] }
    const room = this.#rooms.enter(chatId)
    return (connection) => [this.#entrance(connection, room, connection, resume)]
  }

  /**
   * Enters all granted chats for one stream. Throws as `enter` does, and then enters none. The function that it returns
   * reports the refused chats to the client; the entrances are in the order of the granted chats.
   */
  enterAll (chats: readonly ChatAccess[], request: StreamRequest = {}): MakeEntrances {
    const { lastEventId = '', rewinds = [] } = request
    const positions = lastEventId === '' ? [] : parseMultiChatId(lastEventId, chats.length)
    const granted = [...chats.entries()].filter(([, { refused }]) => refused === undefined)
    const rooms = this.#rooms.enterAll(granted.map(([, { chatId }]) => chatId))
    return (connection) => {
      connection.write(Buffer.concat(chats.flatMap(
        ({ chatId, refused }) => refused === undefined ? [] : [refusedFrame(chatId, refused)]
      )))
      // A refused chat has a part in the event id, too, so the client keeps its position in that chat.
      const { sinks } = new MultiChatStream(
        connection, chats.map(({ userId }, index) => ({ after: positions[index], userId }))
      )
      return rooms.map((room, n) => {
        const [index] = granted[n] as [number, ChatAccess] // There is a room for each granted chat.
        const resume = { after: positions[index], rewind: rewinds[index] }
        return this.#entrance(connection, room, sinks[index] as EventSink, resume)
      })
    }
  }

  #entrance (connection: Connection, room: Room, stream: EventSink, resume: ResumeRequest): Entrance {
    return new RoomEntrance(connection, stream, () => this.#join(room, stream, resume))
  }

  #join (room: Room, stream: EventSink, resume: ResumeRequest): void {
    // A room that stays empty is removed. Access may have been checked for longer than that.
    if (this.#rooms.find(room.chatId) !== room) {
      stream.end()
      return
    }
    for (const feature of this.#features) feature.onJoin?.(room.chatId, stream)
    room.join(stream, resume)
  }
}

/** The entrance of a stream to a room. It is kept as long as the stream, so it drops `join` once that was called. */
class RoomEntrance implements Entrance {
  readonly stream: EventSink
  readonly #connection: Connection
  #join: (() => void) | undefined

  constructor (connection: Connection, stream: EventSink, join: () => void) {
    this.stream = stream
    this.#connection = connection
    this.#join = join
  }

  join (): void {
    this.#join?.()
    this.#join = undefined
  }

  endAfter (ms: number): void {
    this.#connection.endAfter(ms)
  }
}
