/** A process without an app that uses the helpers, and ends by itself. */
import { closePubSub, emitChatMessage } from '../../lib/index.ts'

await emitChatMessage('c', {})
await closePubSub()
