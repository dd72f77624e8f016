import { createRequire } from 'node:module'
import { createElement, type ReactElement } from 'react'
import t from 'tap'
import { createRealtimeClient } from '../../../lib/client/index.ts'
import {
  RealtimeProvider, useBotMessages, useChatEvents, useConnectionState, usePresence, useTyping
} from '../../../lib/react/index.ts'

// It has no types of its own.
const { renderToString } = createRequire(import.meta.url)('react-dom/server') as {
  renderToString (element: ReactElement): string
}

t.test('a server renders without a connection', async (t) => {
  const requests: string[] = []
  const client = createRealtimeClient({
    fetch: async (input) => {
      requests.push(`${input}`)
      return Response.error()
    }
  })
  t.teardown(() => client.close())
  const shown: object[] = []
  function Seen (): null {
    const [users, typing, texts] = [usePresence('c'), useTyping('c'), useBotMessages('c')]
    shown.push({ state: useConnectionState(), users, typing, texts })
    useChatEvents('c', () => {})
    return null
  }
  t.equal(renderToString(createElement(RealtimeProvider, { client }, createElement(Seen))), '')
  t.same(shown, [{ state: 'idle', users: [], typing: [], texts: [] }])
  t.same(requests, [])
  t.throws(() => renderToString(createElement(Seen)), { message: /below a <RealtimeProvider>/ })
})
