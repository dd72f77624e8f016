// @ts-check

/** The rooms that the page offers. The API accepts any other chat id as well. */
export const rooms = [
  { id: 'general', name: 'General', topic: 'Announcements and small talk' },
  { id: 'support', name: 'Support', topic: 'Questions and answers' },
  { id: 'random', name: 'Random', topic: 'Cats, coffee and other distractions' },
  { id: 'dev-team', name: 'Dev team', topic: 'Builds, bugs and what ships next' }
]
