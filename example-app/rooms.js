// @ts-check

/** The rooms that the page offers. The API takes any other chat id as well. */
export const rooms = [
  { id: 'general', name: 'General', topic: 'What everybody should know, and small talk' },
  { id: 'support', name: 'Support', topic: 'Ask anything. Somebody has been there before' },
  { id: 'random', name: 'Random', topic: 'Cats, coffee and other distractions' },
  { id: 'dev-team', name: 'Dev team', topic: 'Builds, bugs and what ships next' }
]
