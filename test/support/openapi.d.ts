import type { FastifyInstance } from 'fastify'

export interface Parameter { in: string, name: string, required: boolean, description?: string }

export interface Operation {
  summary?: string
  tags?: string[]
  parameters?: Parameter[]
  requestBody?: { content: Record<string, { schema: Record<string, unknown> }> }
  responses: Record<string, {
    description: string, content?: Record<string, unknown>, headers?: object, schema?: unknown
  }>
}

export interface OpenApi { paths: Record<string, Record<string, Operation>> }

export function openApi (app: FastifyInstance, options?: object): Promise<void>
export function documentOf (app: FastifyInstance): OpenApi
export function faultsOf (document: OpenApi): Promise<unknown>
