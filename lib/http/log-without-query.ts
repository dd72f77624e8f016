import type { FastifyBaseLogger, FastifyInstance, RawRequestDefaultExpression } from 'fastify'

/** Makes the logger of a request, as Fastify's option `childLoggerFactory` does. */
type LoggerFactory = FastifyInstance['childLoggerFactory']

/** Fastify's `rewriteUrl` keeps the URL as it came. */
type RawRequest = RawRequestDefaultExpression & { originalUrl?: string | undefined }

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace']

/**
 * Makes loggers that see requests without their query, whatever serializers, formatters and hooks of the app read of
 * them: an EventSource can't send a header, so tickets stand in the query. `make` is a factory of the app's own; by
 * default, the one of the route's instance.
 */
export function logWithoutQuery (make?: LoggerFactory): LoggerFactory {
  // Fastify calls it on that instance.
  return function (this: FastifyInstance, logger, bindings, options, request) {
    const log = (make ?? this.childLoggerFactory).call(this, logger, bindings, options, request)
    const { url, originalUrl = url } = request as RawRequest
    const urls = [url, originalUrl].filter((text) => text !== undefined && text !== pathOf(text)) as string[]
    return urls.length === 0 ? log : guarded(log, new Redaction(request, urls))
  }
}

/** A `;` begins the query where Fastify's `useSemicolonDelimiter` is set. */
function pathOf (url: string): string {
  return url.replace(/[?#;].*/s, '')
}

/** The same logger, but for what it is given. */
function guarded (log: FastifyBaseLogger, redaction: Redaction): FastifyBaseLogger {
  const { levels } = log as { levels?: { values: object } } // A logger of pino may have levels of the app's own.
  const methods = log as unknown as Record<string, (...args: unknown[]) => void> // A method for each level.
  const guards = [...new Set([...LEVELS, ...Object.keys(levels?.values ?? {})])].map((name) =>
    [name, { value: (...args: unknown[]) => methods[name]?.(...redaction.all(args)) }])
  const child = (...args: unknown[]): FastifyBaseLogger =>
    guarded(log.child(...redaction.all(args) as Parameters<typeof log.child>), redaction) // They keep their kinds.
  return Object.create(log, {
    ...Object.fromEntries(guards),
    child: { value: child },
    // To set it, pino replaces the methods of the object that it is set on.
    level: { get: () => log.level, set: (level: string) => { log.level = level } }
  })
}

/** Takes the query of one request out of what is logged. */
class Redaction {
  readonly #request: RawRequest
  readonly #urls: readonly string[]

  constructor (request: RawRequest, urls: readonly string[]) {
    this.#request = request
    this.#urls = urls
  }

  /** The arguments of a log call: texts, errors, requests, replies, and objects with these. */
  all (args: unknown[]): unknown[] {
    return args.map((arg) => {
      const value = this.#value(arg)
      if (value !== arg || !isPlain(arg)) return value
      return Object.assign({}, arg, mapValues(arg, (field) => this.#value(field)))
    })
  }

  #value (value: unknown): unknown {
    if (typeof value !== 'object' || value === null) return this.#text(value)
    if (value === this.#request) return this.#rawRequest()
    if (value instanceof Error) return this.#error(value)
    // What requests and replies have.
    const { raw, request, req } = value as { raw?: object, request?: { raw?: object }, req?: object }
    if (raw === this.#request) return this.#fastifyRequest(value)
    if (req === this.#request) return this.#rawReply(value)
    if (raw === undefined || request?.raw !== this.#request) return value
    return override(value, { raw: this.#rawReply(raw), request: this.#fastifyRequest(request) })
  }

  #error (error: Error): Error {
    const [message, stack] = [this.#text(error.message), this.#text(error.stack)]
    if (message === error.message && stack === error.stack) return error
    return override(error, { message, stack }) as Error // By its prototype.
  }

  #fastifyRequest (request: object): object {
    // Fastify remembers it once it was asked for: then the stand-in for the raw request is not looked at.
    const { originalUrl } = request as { originalUrl: string }
    return override(request, { raw: this.#rawRequest(), originalUrl: this.#text(originalUrl), query: {} })
  }

  #rawRequest (): object {
    const { url, originalUrl, headers, rawHeaders } = this.#request
    return override(this.#request, {
      url: this.#text(url),
      originalUrl: this.#text(originalUrl),
      query: {},
      // Those of HTTP/2 hold the path, and those of some proxies as well.
      headers: mapValues(headers, (value) => this.#text(value)),
      rawHeaders: rawHeaders.map((text) => this.#text(text)),
      // Where packages such as parseurl keep what they have parsed.
      _parsedUrl: undefined,
      _parsedOriginalUrl: undefined
    })
  }

  #rawReply (reply: object): object {
    return override(reply, { req: this.#rawRequest() })
  }

  /** Whatever is no text stays as it is. */
  #text<T> (value: T): T | string {
    if (typeof value !== 'string') return value
    return this.#urls.reduce((text, url) => text.replaceAll(url, pathOf(url)), value as string)
  }
}

function mapValues (object: object, map: (value: unknown) => unknown): object {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, map(value)]))
}

/** An object that differs from another one in some properties, and has all others of it. */
function override (object: object, properties: object): object {
  const overrides = mapValues(properties, (value) => ({ value, enumerable: true, writable: true }))
  return Object.create(object, overrides as PropertyDescriptorMap) // That is what they are.
}

function isPlain (value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
