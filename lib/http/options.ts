import { callable, count, group, option, text } from '../core/option-kinds.ts'
import type { OptionsFrom, ValuesFrom } from '../core/options.ts'
import { RealtimeError } from '../errors.ts'
import type { Authorize } from './access.ts'
import { checkRouteOptions, type RealtimeRouteOptions } from './route-options.ts'

/**
 * If its id is a UUID, each chat takes about 40 bytes of the URL and 36 of `Last-Event-ID`. Proxies commonly accept
 * 8 kB for a line, and servers 16 kB for all headers.
 */
const MOST_CHATS = 100
/** The client of this package requests at most this many events. */
const MOST_REWIND = 999_999

const publishRouteFields = {
  /**
   * `(request, chatId) => boolean`, or a promise of it, or a grant as for the option `authorize` of the plugin: decides
   * whether a client may publish to a chat. Any other result refuses.
   * @default none, it is required
   */
  authorize: callable<Authorize>({ scope: 'app' })
}

/** The options of `publishRoute`. */
export interface PublishRouteOptions extends OptionsFrom<typeof publishRouteFields> {
  authorize: Authorize
}

function checkPublishRoute (name: string, given: PublishRouteOptions | false): PublishRouteOptions | false {
  if (given === false) return false
  const { authorize } = group(publishRouteFields, name, given, '{ authorize } or false')
  if (authorize !== undefined) return { authorize }
  throw new RealtimeError('RT_OPTION_INVALID', `\`${name}\` needs \`authorize\`: otherwise anyone could publish. ` +
    'Give it a function that returns true for the clients that may publish')
}

/** Options of the routes and of chat streams. */
export const routeOptions = {
  /**
   * `(request, chatId) => boolean | { userId, expiresAt }`, or a promise of it: decides whether a client may open a
   * chat. It is called before anything is subscribed, each time a client connects or reconnects. `true` or
   * `{ userId, expiresAt }` grants access, `false` responds with 403, and an error that it throws is handled like any
   * error of a route.
   * See docs/access.md.
   * @default every client may open every chat
   */
  authorize: callable<Authorize>({ scope: 'app' }),
  /**
   * Maximum number of chats in one stream, at most 100: the ids of more chats would not fit into the request of a
   * reconnecting browser. The client of this package opens additional streams by itself.
   * @default 50
   */
  maxChatsPerStream: count({
    default: 50,
    from: 1,
    to: MOST_CHATS,
    because: ', since the ids of more chats do not fit into a request',
    scope: 'app'
  }),
  /**
   * Maximum number of past events that a client may request for each chat with `rewind`, at most 999_999. The default
   * covers the default `history`. Memory use is bounded in bytes regardless of this value, but time and traffic grow
   * with it.
   * @default 1_000
   */
  maxRewind: count({ default: 1_000, from: 0, to: MOST_REWIND, scope: 'app' }),
  /**
   * The path prefix of the routes; `''` for none.
   * @default '/api'
   */
  prefix: text({
    default: '/api', form: /^(\/[\w.~-]+)*$/, expected: 'a path such as /api, or empty', scope: 'app'
  }),
  /**
   * Adds the route `POST {prefix}/chats/:chatId/events`, by which other services publish events.
   * See docs/publishing.md.
   * @default false
   */
  publishRoute: option<PublishRouteOptions | false, PublishRouteOptions | false, false>({
    scope: 'app', fields: publishRouteFields, check: checkPublishRoute
  }, false),
  /**
   * Options of Fastify or its plugins for each route of this plugin: `config`, `schema`, hooks, `constraints`,
   * `logLevel` and others, such as `{ config: { rateLimit: false } }`. A schema must accept `chat`, `lastEventId`,
   * `rewind`, `at`, `after`, `before` and `limit` in the query. The query is never logged on streams, not even with a
   * custom `childLoggerFactory`.
   * See docs/deployment.md#other-plugins.
   * @default none
   */
  routeOptions: option<RealtimeRouteOptions, RealtimeRouteOptions>({
    scope: 'app', check: (_name, given) => checkRouteOptions(given)
  })
}

/** The values of these options, with the defaults. */
export type RouteValues = ValuesFrom<typeof routeOptions>
