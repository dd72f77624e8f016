import t from 'tap'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { context, propagation, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { metricNames } from '../../lib/observability/prometheus.ts'
import { startApp } from '../support/app.ts'
import { EventStream } from '../support/event-stream.ts'
import { RedisServer } from '../support/redis-server.ts'
import { Document, serveSnippet, writeSnippet } from '../support/snippets.ts'

const guide = await Document.read('docs/observability.md')

/** The metrics that expressions speak of, without what a histogram adds to its name. */
function namesIn (text: string): Set<string> {
  return new Set(
    [...text.matchAll(/\b(?:pubsub|realtime)_\w+/g)].map(([name]) =>
      metricNames.includes(name) ? name : name.replace(/_(bucket|sum|count)$/, '')
    )
  )
}

t.test('the route, the guide and the dashboard show every metric, and the alerts use no others', async (t) => {
  const [server] = guide.snippets('Metrics\n')
  const url = await serveSnippet(t, server)
  const response = await fetch(`${url}/metrics`)
  t.match(response.headers.get('content-type'), /^text\/plain/)
  const shown = new Set([...(await response.text()).matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name as string))
  t.same(shown, new Set(metricNames.filter((name) => !name.startsWith('realtime_outbox_'))), 'this app has no outbox')
  t.same(
    new Set([...guide.text.matchAll(/^\| `(\w+)` \| /gm)].map(([, name]) => name)),
    new Set(metricNames),
    'the table has each of them'
  )

  const dashboard = await Document.read('docs/grafana-dashboard.json')
  const { panels } = JSON.parse(dashboard.text) as { panels: { targets: { expr: string }[] }[] }
  t.same(
    namesIn(panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join('\n')),
    new Set(metricNames),
    'the dashboard shows each of them'
  )
  const { text: alerts } = await Document.read('docs/alerts.yml')
  const unknown = [...namesIn(alerts)].filter((name) => !metricNames.includes(name))
  t.same(unknown, [])
  t.ok(namesIn(alerts).size >= 7)
})

// Before anything is instrumented.
t.test('a traceparent can be passed by hand; an invalid one is not sent', async (t) => {
  const { app } = await startApp(t)
  const seen: unknown[] = []
  app.chatEvents.onChatEvent('c', (_event, { traceparent }) => { seen.push(traceparent) })
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  for (const given of [traceparent, 'garbage', undefined, `${traceparent} x`]) {
    await app.chatEvents.emitChatMessage('c', {}, { traceparent: given })
  }
  t.same(seen, [traceparent, undefined, undefined, undefined])
})

t.test('one trace reaches from the request that posts a message to its delivery on another instance', async (t) => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  trace.setGlobalTracerProvider(provider)
  const [instrumentation] = guide.snippets('Traces')
  await import(`${await writeSnippet(t, instrumentation, 'snippet.js')}/snippet.js`)

  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const tracer = trace.getTracer('the app')
  const here = await startApp(t, { redisUrl: redis.url }, {
    setup: (app) => {
      app.post('/messages', async () => await tracer.startActiveSpan('POST /messages', async (span) => {
        try {
          return await app.chatEvents.emitChatMessage('c', { n: 1 })
        } finally {
          span.end()
        }
      }))
    }
  })
  const there = await startApp(t, { redisUrl: redis.url, instanceId: 'there' })
  const handled = new Promise<string | undefined>((resolve) => {
    there.app.chatEvents.onChatEvent('c', (_event, { traceparent }) => resolve(traceparent))
  })
  const stream = await EventStream.open(t, `${there.url}/api/chats/c/events`)
  await stream.next()
  t.equal((await fetch(`${here.url}/messages`, { method: 'POST' })).status, 200)
  t.same((await stream.next()).data, { type: 'message', chatId: 'c', message: { n: 1 } })

  const spans = exporter.getFinishedSpans()
  const span = (name: string): typeof spans[number] => spans.find((span) => span.name === name) as typeof spans[number]
  const [post, publish, deliver] = [span('POST /messages'), span('publish message'), span('deliver message')]
  t.equal(publish.parentSpanContext?.spanId, post.spanContext().spanId)
  t.equal(deliver.parentSpanContext?.spanId, publish.spanContext().spanId)
  t.equal(deliver.spanContext().traceId, post.spanContext().traceId)
  t.same(deliver.attributes, { streams: 1 })
  t.match(await handled, publish.spanContext().spanId)

  await t.rejects(here.app.chatEvents.emitChatMessage('c', { text: 'x'.repeat(100_000) }), {
    code: 'RT_PAYLOAD_TOO_LARGE'
  })
  t.match(exporter.getFinishedSpans().at(-1), {
    name: 'publish message',
    status: { code: 2, message: 'RT_PAYLOAD_TOO_LARGE' }
  })
})
