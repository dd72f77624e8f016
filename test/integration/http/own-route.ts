import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { startApp } from '../../support/app.ts'

export const start = (t: Test, setup: (app: FastifyInstance) => unknown, options = {}): ReturnType<typeof startApp> => {
  return startApp(t, options, { setup })
}
