import t from 'tap'
import Fastify, { type FastifyError, type FastifyReply, type FastifyRequest } from 'fastify'

type AnswerError = (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => unknown

const file = new URL('../../../example-app/errors.js', import.meta.url).href
// The example app is plain JavaScript.
const { answerError } = await import(file) as { answerError: AnswerError }

t.test('an error is answered by what has failed, without its text', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setErrorHandler(answerError)
  let error: Error = new Error()
  app.get('/', () => { throw error })
  const statusOf = async (message: string, fields = {}): Promise<number> => {
    error = Object.assign(new Error(message), fields)
    const { statusCode, json, body } = await app.inject('/')
    t.equal(json().statusCode, statusCode)
    t.equal(body.includes(message), 'statusCode' in fields, 'only an error with a status is meant for the client')
    return statusCode
  }
  for (const code of ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN', '57P01', '40001']) {
    t.equal(await statusOf('connect 10.0.0.7', { code }), 503, code)
  }
  for (const message of [
    'Connection terminated unexpectedly', 'timeout exceeded when trying to connect',
    'Client has encountered a connection error and is not queryable'
  ]) t.equal(await statusOf(message), 503, message)
  for (const code of [undefined, 'ERR_INVALID_ARG_TYPE', 'ENOENT']) {
    t.equal(await statusOf('a secret', { code }), 500, String(code))
  }
  t.equal(await statusOf('You may not', { statusCode: 403 }), 403)
})
