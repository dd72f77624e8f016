/** Valid names of events and instances. They are safe in an SSE frame and as a field of a wire message. */
export const NAME = /^[\w.-]{1,64}$/
