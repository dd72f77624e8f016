import type { FastifyBaseLogger } from 'fastify'

/** What is asked of a logger: Fastify's own and every pino logger have it. */
export type Logger = Pick<FastifyBaseLogger, 'debug' | 'info' | 'warn' | 'error'>

const nothing = (): void => {}

/** For a provider that is made by hand without a logger. */
export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }
