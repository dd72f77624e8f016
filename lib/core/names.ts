/** What events and instances may be called: safe in a line of an SSE frame and as a word of a message on the wire. */
export const NAME = /^[\w.-]{1,64}$/
