import type { Chat } from './chat.ts'
import type { ChatSource, ConnectionPool, Consumer } from './connection-pool.ts'
import type { ConnectionOptions, ConnectionState } from './connection.ts'
import { Tabs, type Locks } from './tab-leader.ts'
import type { Message } from './tab-message.ts'

/** The client of this tab. */
interface Client extends Consumer {
  readonly chats: ReadonlySet<Chat>
}

/**
 * Shares the connections of one tab with the other tabs of this name. The leading tab has the connections, and requests
 * the chats of all tabs. The other ones send it their chats. Throws if the page may not use storage. Two functions are
 * passed: this file imports no module that the rest of the client has, too, since some bundlers would split that off.
 */
export function shareConnections (
  name: string, locks: Locks, options: ConnectionOptions, client: Client,
  createConnectionPool: (options: ConnectionOptions, consumer: Consumer) => ConnectionPool,
  watchNetwork: (wake: () => void) => () => void
): ChatSource {
  const { chats } = client
  let state: ConnectionState = 'idle'

  const tabs = new Tabs(name, locks, options.silenceMs, {
    elected () {
      update()
      // The state is that of the previous leader.
      if (chats.size === 0) receive({ type: 'state', state: 'idle' })
    },
    replaced () {
      connections.close()
      for (const chat of [...chats]) {
        // Events may be missing. With a history, the next event id shows whether any are.
        if (chat.lastEventId === undefined) {
          chat.receive({ chatId: chat.id, event: 'reset', data: { reason: 'no-history' } })
        }
      }
      update()
    },
    updated (joined) {
      update(joined)
      if (tabs.leads) sendPositions()
    },
    message (message) {
      if (!tabs.leads) receive(message)
      else if (message.type === 'reconnect') {
        for (const chat of [...chats]) chat.reconnect()
        connections.reconnect()
      }
    }
  })

  /** Passes on a message of the connections, which this tab or the leader holds. */
  function receive (message: Message): void {
    if (message.type === 'event') client.deliver(message.delivery)
    if (message.type === 'refused') client.refused(message.refusal)
    if (message.type === 'state') {
      state = message.state
      client.state(state)
    }
  }

  function publish (message: Message): void {
    receive(message)
    tabs.notify(message)
  }

  /** The chats of all tabs. */
  function wanted (): Consumer['chats'] {
    const others = [...tabs.others.values()].flatMap((chats) => Object.entries(chats))
    return [...chats, ...others.map(([chatId, id]) => ({ id: chatId, position: () => ({ id }) }))]
  }

  const connections = createConnectionPool(options, {
    get chats () {
      return wanted()
    },
    deliver: (delivery) => publish({ type: 'event', delivery }),
    state: (state) => publish({ type: 'state', state }),
    refused: (refusal) => publish({ type: 'refused', refusal })
  })

  /** Requests the chats of all tabs, or sends the leader the chats of this tab. */
  function update (joined?: string): void {
    if (tabs.leads) connections.update(joined)
    else tabs.want(Object.fromEntries([...chats].map(({ id, lastEventId }) => [id, lastEventId])), joined)
  }

  /** Sends the other tabs the current position of each chat. */
  function sendPositions (): void {
    for (const chatId of new Set([...wanted()].map(({ id }) => id))) {
      const at = connections.of(chatId)?.chats.get(chatId)
      if (at?.ready) tabs.notify({ type: 'event', delivery: { chatId, event: 'ready', id: at.id, previous: at.id } })
    }
    tabs.notify({ type: 'state', state })
  }

  // Messages from other tabs may have been lost while this page was suspended.
  const unwatch = watchNetwork(() => { if (!tabs.leads) update() })

  return {
    update,
    reconnect () {
      if (tabs.leads) connections.reconnect()
      else tabs.notify({ type: 'reconnect' })
    },
    close () {
      // Leave the tabs first: otherwise they would get the state of the closing connections, although another tab takes
      // over.
      tabs.close()
      connections.close()
      unwatch()
    }
  }
}
