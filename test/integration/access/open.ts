export const open = (url: string, chatId = 'c', headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${url}/api/chats/${chatId}/events`, { headers })

export const later = Date.now() + 3_600_000
