import type { FastifyBaseLogger } from 'fastify'

/** The logger methods this package uses. Fastify's logger and every pino logger have them. */
export type Logger = Pick<FastifyBaseLogger, 'debug' | 'info' | 'warn' | 'error'>

const noop = (): void => {}

/** The default logger of a provider that an app creates without one. */
export const silentLogger: Logger = { debug: noop, info: noop, warn: noop, error: noop }
