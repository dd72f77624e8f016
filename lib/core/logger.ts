import type { FastifyBaseLogger } from 'fastify'

/** The logger methods this package uses. Fastify's logger and every pino logger have them. */
export type Logger = Pick<FastifyBaseLogger, 'debug' | 'info' | 'warn' | 'error'>

const nothing = (): void => {}

/** The default for a provider that an app creates without a logger. */
export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }
