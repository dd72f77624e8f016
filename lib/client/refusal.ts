/** The server refused a chat, or all of them. It is not asked again before the chat is opened anew, or `client.reconnect()`. */
export interface Refusal {
  message: string
  /** The status of HTTP. */
  status: number
  /** The code that the server gave, such as `RT_FORBIDDEN`. */
  code?: string | undefined
  /** The chat that was refused. Absent where all chats together were, such as when they are too many. */
  chatId?: string | undefined
}

/** Reads why the server refused. */
export async function refusalOf (response: Response, chatId?: string): Promise<Refusal> {
  const { status } = response
  // Whatever stands in between may answer, too.
  const { message = `The server answered ${status}`, code } = await response.json().catch(() => ({})) as Partial<Refusal>
  return { message, status, code, chatId }
}
