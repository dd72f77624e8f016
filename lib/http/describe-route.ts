import type { FastifySchema } from 'fastify'

export type JsonSchema = Record<string, unknown>

const JSON_TYPE = 'application/json'

export interface ResponseDescription {
  description: string
  /** @default 'application/json' */
  type?: string
  /** Without it, the response has no body. */
  schema?: JsonSchema
  /** Schemas of the other types that a client can ask for. A document of Swagger 2 shows only one type. */
  otherTypes?: Record<string, JsonSchema>
  headers?: Record<string, JsonSchema>
}

/** What an OpenAPI document shows of a route. */
export interface RouteDescription {
  summary: string
  params?: JsonSchema
  querystring?: JsonSchema
  headers?: JsonSchema
  body?: JsonSchema
  responses: Record<number, ResponseDescription>
}

/** What @fastify/swagger passes to the `swaggerTransform` of a route. */
interface Transformed {
  schema: FastifySchema | undefined
  url: string
  /** Set for a document of OpenAPI 3. */
  openapiObject?: unknown
}

type Transform = (given: Transformed) => { schema: FastifySchema, url: string }

/**
 * Returns the `config` of a route that @fastify/swagger reads for its document. Fastify itself never sees these
 * schemas: it would validate with them, serialize with them, and compile them with the compiler of the app, which may
 * be one for other schemas, such as Zod's. The `routeOptions.schema` of the app takes precedence in the document.
 */
export function describeRoute (description: RouteDescription, given: object | undefined): object {
  const { swaggerTransform } = { ...given } as { swaggerTransform?: Transform | false }
  const transform: Transform = ({ schema, url, ...rest }) => {
    const described = { schema: merge(schemaOf(description, rest.openapiObject !== undefined), schema), url }
    return typeof swaggerTransform === 'function' ? swaggerTransform({ ...rest, ...described }) : described
  }
  return { ...given, swaggerTransform: transform }
}

/** Returns the schema as @fastify/swagger expects it for OpenAPI 3, or else for Swagger 2. */
function schemaOf ({ responses, ...parts }: RouteDescription, isOpenApi: boolean): JsonSchema {
  const response = Object.entries(responses).map(([status, given]) => {
    const { description, type = JSON_TYPE, schema, otherTypes = {}, headers } = given
    const content = { [type]: { schema } }
    for (const [type, schema] of Object.entries(otherTypes)) content[type] = { schema }
    const body = isOpenApi ? { content } : schema
    return [status, { description, ...headers && { headers }, ...schema === undefined ? { type: 'null' } : body }]
  })
  const produces = [...new Set(Object.values(responses).map(({ type = JSON_TYPE }) => type))]
  return { tags: ['realtime'], produces, ...parts, response: Object.fromEntries(response) as object }
}

const PARTS = ['params', 'querystring', 'headers', 'body', 'response'] as const

/** Merges the app's schema of a route over ours: the properties of each part, and the responses. */
function merge (ours: JsonSchema, given: FastifySchema | undefined): FastifySchema {
  const { query, ...rest } = { ...given } as JsonSchema
  const theirs: JsonSchema = { ...query !== undefined && { querystring: query }, ...rest }
  const merged: JsonSchema = { ...ours, ...theirs }
  for (const part of PARTS) {
    const [one, other] = [ours[part], theirs[part]] as (JsonSchema | undefined)[]
    if (one === undefined || other === undefined) continue
    const properties = { ...one.properties as object, ...other.properties as object }
    merged[part] = { ...one, ...other, ...part !== 'response' && { properties } }
  }
  return merged
}
