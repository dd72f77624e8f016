/** The highest value that the server's option `maxRewind` can have. The server refuses a chat that asks for more. */
export const MAX_REWIND = 999_999

/**
 * The most characters that the chats of one request may add to its URL and its `Last-Event-ID` together. Servers and
 * proxies accept 8 kB for a line and 16 kB for all headers, cookies included.
 */
export const MAX_CHARACTERS = 6_144

/**
 * The characters that a chat needs beside its id: a separator, the names `chat` and `rewind`, six digits, and the
 * longest event id.
 */
export const PER_CHAT = 82
