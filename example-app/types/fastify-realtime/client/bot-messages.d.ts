/** `page.js` serves the package under this name. */
export * from 'fastify-realtime/client/bot-messages'
