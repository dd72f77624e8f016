import type { FastifyBaseLogger, FastifyInstance, RawRequestDefaultExpression } from 'fastify'

/** Creates the logger of a request, like Fastify's option `childLoggerFactory`. */
type LoggerFactory = FastifyInstance['childLoggerFactory']

/** If Fastify's option `rewriteUrl` is set, `originalUrl` is the URL as received. */
type RawRequest = RawRequestDefaultExpression & { originalUrl?: string | undefined }

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace']

/**
 * Returns a factory of loggers that never log the query of a request, whatever the app's serializers, formatters and
 * hooks read. An EventSource cannot send custom headers, so the query may contain access tickets. `given` is the app's
 * own factory; by default, the factory of the Fastify instance that has the route is used.
 */
export function logWithoutQuery (given?: LoggerFactory): LoggerFactory {
  // Fastify calls the factory with the instance of the route as `this`.
  return function (this: FastifyInstance, logger, bindings, options, request) {
    const log = (given ?? this.childLoggerFactory).call(this, logger, bindings, options, request)
    const { url, originalUrl = url } = request as RawRequest
    const urls = [url, originalUrl].filter((text) => text !== undefined && text !== pathOf(text)) as string[]
    return urls.length === 0 ? log : withRedaction(log, new Redaction(request, urls))
  }
}

/** Returns the path of a URL. With Fastify's option `useSemicolonDelimiter`, a `;` starts the query, too. */
function pathOf (url: string): string {
  return url.replace(/[?#;].*/s, '')
}

/** Wraps a logger so that all arguments are redacted. */
function withRedaction (log: FastifyBaseLogger, redaction: Redaction): FastifyBaseLogger {
  const { levels } = log as { levels?: { values: object } } // A pino logger may have custom levels.
  const methods = log as unknown as Record<string, (...args: unknown[]) => void> // It has a method for each level.
  const redactingMethods = [...new Set([...LEVELS, ...Object.keys(levels?.values ?? {})])].map((name) =>
    [name, { value: (...args: unknown[]) => methods[name]?.(...redaction.redact(args)) }])
  const child = (...args: unknown[]): FastifyBaseLogger =>
    // Redaction keeps the types.
    withRedaction(log.child(...redaction.redact(args) as Parameters<typeof log.child>), redaction)
  return Object.create(log, {
    ...Object.fromEntries(redactingMethods),
    child: { value: child },
    // pino's setter replaces the methods of its receiver, so it must run on the original logger.
    level: { get: () => log.level, set: (level: string) => { log.level = level } }
  })
}

/** Removes the query of one request from logged values. */
class Redaction {
  readonly #request: RawRequest
  readonly #urls: readonly string[]

  constructor (request: RawRequest, urls: readonly string[]) {
    this.#request = request
    this.#urls = urls
  }

  /** Redacts the arguments of a log call: strings, errors, requests, replies, and objects that contain them. */
  redact (args: unknown[]): unknown[] {
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
    // A Fastify request has `raw`, a raw reply has `req`, and a Fastify reply has both `raw` and `request`.
    const { raw, request, req } = value as { raw?: object, request?: { raw?: object }, req?: object }
    if (raw === this.#request) return this.#fastifyRequest(value)
    if (req === this.#request) return this.#rawReply(value)
    if (raw === undefined || request?.raw !== this.#request) return value
    return override(value, { raw: this.#rawReply(raw), request: this.#fastifyRequest(request) })
  }

  #error (error: Error): Error {
    const [message, stack] = [this.#text(error.message), this.#text(error.stack)]
    if (message === error.message && stack === error.stack) return error
    return override(error, { message, stack }) as Error // It inherits from the error.
  }

  #fastifyRequest (request: object): object {
    // Fastify caches `originalUrl` on first access. A cached value would bypass the redacted raw request.
    const { originalUrl } = request as { originalUrl: string }
    return override(request, { raw: this.#rawRequest(), originalUrl: this.#text(originalUrl), query: {} })
  }

  #rawRequest (): object {
    const { url, originalUrl, headers, rawHeaders } = this.#request
    return override(this.#request, {
      url: this.#text(url),
      originalUrl: this.#text(originalUrl),
      query: {},
      // HTTP/2 headers contain the path, and so do headers of some proxies.
      headers: mapValues(headers, (value) => this.#text(value)),
      rawHeaders: rawHeaders.map((text) => this.#text(text)),
      // Packages such as parseurl cache the parsed URL in these properties.
      _parsedUrl: undefined,
      _parsedOriginalUrl: undefined
    })
  }

  #rawReply (reply: object): object {
    return override(reply, { req: this.#rawRequest() })
  }

  /** Redacts a string. Other values are returned unchanged. */
  #text<T> (value: T): T | string {
    if (typeof value !== 'string') return value
    return this.#urls.reduce((text, url) => text.replaceAll(url, pathOf(url)), value as string)
  }
}

function mapValues (object: object, map: (value: unknown) => unknown): object {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, map(value)]))
}

/** Returns an object that overrides some properties of another object and inherits all others. */
function override (object: object, properties: object): object {
  const overrides = mapValues(properties, (value) => ({ value, enumerable: true, writable: true }))
  return Object.create(object, overrides as PropertyDescriptorMap) // `mapValues` loses the type.
}

function isPlain (value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
