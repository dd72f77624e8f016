import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { documentOf, faultsOf, openApi, type OpenApi } from '../../support/openapi.js'

const ROUTES = {
  '/api/chats/{chatId}/events': ['get', 'post'],
  '/api/chats/events': ['get'],
  '/api/chats/{chatId}/stream': ['get'],
  '/api/chats/{chatId}/bot-messages/{id}': ['get'],
  '/api/chats/{chatId}/history': ['get'],
  '/api/health/pubsub': ['get']
}

async function open (
  t: Test, options: RealtimeOptions = {}, swagger?: object
): Promise<{ app: FastifyInstance, document: OpenApi }> {
  const { app } = await startApp(t, { publishRoute: { authorize: () => true }, ...options }, {
    setup: (app) => openApi(app, swagger)
  })
  return { app, document: documentOf(app) }
}

t.test('the OpenAPI document is valid and shows every route with its parameters, headers and responses', async (t) => {
  const { document } = await open(t)
  t.equal(await faultsOf(document), undefined)
  const methodsOf = Object.entries(document.paths).map(([path, methods]) => [path, Object.keys(methods)])
  t.same(Object.fromEntries(methodsOf), ROUTES)
  const shown = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], responses, summary, tags }]) => {
      t.ok(summary)
      t.same(tags, ['realtime'])
      const names = parameters.map(({ in: where, name, required }) => `${where} ${name}${required ? '' : '?'}`)
      return [`${method} ${path.replace('/api', '')}`, [names.join(', '), Object.keys(responses).join(' ')]]
    }))
  t.same(Object.fromEntries(shown), {
    'get /chats/{chatId}/events': [
      'query lastEventId?, query rewind?, path chatId, header last-event-id?', '200 400 403 503'
    ],
    'post /chats/{chatId}/events': [
      'path chatId, header Idempotency-Key?, header traceparent?', '202 400 403 413 415 422 503'
    ],
    'get /chats/events': ['query chat, query lastEventId?, query rewind?, header last-event-id?', '200 400 403 503'],
    'get /chats/{chatId}/stream': ['path chatId', '200 204 400 403 501 503'],
    'get /chats/{chatId}/bot-messages/{id}': ['query at?, path chatId, path id', '200 400 403 404 501 503'],
    'get /chats/{chatId}/history': ['query after?, query before?, query limit?, path chatId', '200 400 403 501 503'],
    'get /health/pubsub': ['', '200 503']
  })
  const { get, post } = document.paths['/api/chats/{chatId}/events'] ?? {}
  t.same(Object.keys(get?.responses[200]?.content ?? {}), ['text/event-stream', 'application/json'])
  t.same(Object.keys(get?.responses[403]?.content ?? {}), ['application/json'])
  t.match(get?.responses[503]?.headers, { 'retry-after': {} })
  t.match(post?.requestBody?.content, { 'application/json': { schema: { required: ['type'] } } })
  t.equal(document.paths['/api/chats/{chatId}/stream']?.get?.responses[204]?.content, undefined)
})

t.test('the Swagger 2 document is valid, too', async (t) => {
  const { document } = await open(t, {}, { swagger: { info: { title: 'app', version: '1' } } })
  t.equal(await faultsOf(document), undefined)
  t.same(Object.keys(document.paths), Object.keys(ROUTES))
  t.match(document.paths['/api/chats/{chatId}/events']?.get, {
    produces: ['text/event-stream', 'application/json'], responses: { 200: { schema: { type: 'string' } } }
  })
})

t.test('routeOptions.schema is merged into the document', async (t) => {
  const { document } = await open(t, {
    routeOptions: {
      schema: {
        tags: ['chats'],
        headers: { type: 'object', properties: { 'x-app': { type: 'string' } }, required: ['x-app'] },
        query: { type: 'object', properties: { ticket: { type: 'string' } } },
        response: { 401: { description: 'Sign in first.', type: 'object' } }
      } as object
    }
  })
  t.equal(await faultsOf(document), undefined)
  const { get } = document.paths['/api/chats/{chatId}/events'] ?? {}
  t.same(get?.tags, ['chats'])
  t.match(get?.parameters?.map(({ name, required }) => [name, required]), [
    ['lastEventId', false], ['rewind', false], ['ticket', false], ['chatId', true], ['last-event-id', false],
    ['x-app', true]
  ])
  t.same(Object.keys(get?.responses ?? {}), ['200', '400', '401', '403', '503'])
  t.same(Object.keys(document.paths['/api/health/pubsub']?.get?.responses ?? {}), ['200', '401', '503'])
})

t.test('routes can be hidden, and a swaggerTransform of the app gets the schemas', async (t) => {
  const hidden = await open(t, { routeOptions: { schema: { hide: true } as object } })
  t.same(hidden.document.paths, {})
  const summaries: string[] = []
  const swaggerTransform = ({ schema, url }: { schema: { summary: string }, url: string }): object => {
    summaries.push(schema.summary)
    return { schema: { ...schema, summary: 'changed' }, url }
  }
  const { document } = await open(t, { routeOptions: { config: { swaggerTransform } as object } })
  t.equal(summaries.length, 7)
  t.ok(summaries.includes('Publishes an event to a chat'))
  t.equal(document.paths['/api/chats/events']?.get?.summary, 'changed')
  const off = await open(t, { routeOptions: { config: { swaggerTransform: false } as object } })
  t.same(Object.keys(off.document.paths), Object.keys(ROUTES))
})

t.test('the schemas neither validate a request nor reach the compilers of the app', async (t) => {
  const setup = async (app: FastifyInstance): Promise<void> => {
    await openApi(app)
    // As with Zod: the compilers accept only schemas of their own.
    const refuse = (): never => { throw new Error('not a schema of the app') }
    app.setValidatorCompiler(refuse)
    app.setSerializerCompiler(refuse)
  }
  const { app } = await startApp(t, { authorize: () => true }, { setup })
  const url = app.listeningOrigin
  for (const [path, status, code] of [
    ['chats/c/events?rewind=x', 400, 'RT_REWIND_INVALID'],
    ['chats/events', 400, 'RT_CHAT_ID_INVALID'],
    ['chats/c/bot-messages/a?at=x', 400, 'RT_POSITION_INVALID'],
    ['chats/c/history?limit=x', 400, 'RT_HISTORY_INVALID']
  ] as const) t.match(await (await fetch(`${url}/api/${path}`)).json(), { statusCode: status, code })
  t.equal((await fetch(`${url}/api/chats/c/stream`)).status, 204)
  const health = await fetch(`${url}/api/health/pubsub`)
  t.match(await health.json(), { status: 'ok', chatSubscriptions: { localChats: 0 } })
})
