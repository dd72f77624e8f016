/** What `page.js` serves under this name. */
export * from 'fastify-realtime/client'
