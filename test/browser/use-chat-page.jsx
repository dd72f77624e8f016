// A page with `useChat` in StrictMode. The test uses `window.chat`, which is what the hook has returned last.
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
// The code of docs/ai.md, as the test has bundled it.
import { useAnswers } from 'the-guide'

function Chat () {
  const chat = window.chat = useAnswers('general')
  if (chat.error !== undefined && chat.error.message !== 'The response was cut') window.failedAt ??= Date.now()
  return <ol>{chat.messages.map((message) => <li key={message.id}><Message {...message} /></li>)}</ol>
}

function Message ({ role, parts }) {
  return <p>{role}: {parts.map((part, n) => <span key={n}>{part.text ?? `(${part.type})`}</span>)}</p>
}

window.mounted = createRoot(document.querySelector('main'))
window.mounted.render(<StrictMode><Chat /></StrictMode>)
