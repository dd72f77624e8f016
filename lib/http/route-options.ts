import type { RouteShorthandOptions } from 'fastify'
import { RealtimeError, kindOf } from '../errors.ts'
import { describeRoute, type RouteDescription } from './describe-route.ts'
import { logWithoutQuery } from './log-without-query.ts'

/** Route options that would break the routes of the plugin, each with the fix for the error message. */
const REFUSED = {
  method: 'The routes of the plugin use GET, or POST to publish. Call reply.sse.chat in a route of your own',
  url: 'Use the option prefix, or call reply.sse.chat in a route of your own',
  path: 'Use the option prefix, or call reply.sse.chat in a route of your own',
  handler: 'Call reply.sse.chat in a route of your own',
  exposeHeadRoute: 'A HEAD request gets no events. Leave it out',
  attachValidation: 'The routes would accept requests that do not match their schema. Leave it out',
  sse: 'With it, reply.sse would come from @fastify/sse, not from this plugin. Leave it out',
  websocket: 'Add a route of your own for WebSockets',
  wsHandler: 'Add a route of your own for WebSockets'
} as const

/** Options of Fastify and its plugins that the routes of this plugin accept. */
export type RealtimeRouteOptions = Omit<RouteShorthandOptions, keyof typeof REFUSED>

/** Throws `RT_OPTION_INVALID`. */
export function checkRouteOptions (given: RealtimeRouteOptions): RealtimeRouteOptions {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid(`Expected \`routeOptions\` to be an object of route options, got ${kindOf(given)}`)
  }
  const options = given as Record<string, unknown> // Plugins add options that Fastify's types do not declare.
  for (const [name, fix] of Object.entries(REFUSED)) {
    if (options[name] !== undefined) throw invalid(`\`routeOptions.${name}\` cannot be set. ${fix}`)
  }
  const { childLoggerFactory } = given
  if (childLoggerFactory !== undefined && typeof childLoggerFactory !== 'function') {
    throw invalid(`Expected \`routeOptions.childLoggerFactory\` to be a function, got ${kindOf(childLoggerFactory)}`)
  }
  return given
}

/**
 * Returns the options of one route with its description. Arrays are copied: plugins such as @fastify/rate-limit push
 * hooks into the arrays of each route.
 */
export function describedRouteOptions (
  description: RouteDescription, given: RealtimeRouteOptions = {}
): RealtimeRouteOptions {
  const copy = Object.entries(given).map(([name, value]) =>
    [name, Array.isArray(value) ? [...value] as unknown : value])
  return { ...Object.fromEntries(copy), config: describeRoute(description, given.config) }
}

/**
 * Returns the options of one route that clients of chats request. Their query is not logged, since it may contain
 * access tickets. There is no route for HEAD requests, which would get none of the content.
 */
export function clientRouteOptions (
  description: RouteDescription, given: RealtimeRouteOptions | undefined
): RouteShorthandOptions {
  const childLoggerFactory = logWithoutQuery(given?.childLoggerFactory)
  return { ...describedRouteOptions(description, given), exposeHeadRoute: false, childLoggerFactory }
}

function invalid (message: string): RealtimeError {
  return new RealtimeError('RT_OPTION_INVALID', message)
}
