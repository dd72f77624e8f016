// OpenAPI documents of an app, by @fastify/swagger.
import swagger from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'

/** Registers @fastify/swagger, for OpenAPI 3 unless other options are given. */
export async function openApi (app, options = { openapi: { info: { title: 'app', version: '1' } } }) {
  await app.register(swagger, options)
}

/** The document of an app that is ready. */
export function documentOf (app) {
  return app.swagger()
}

/** What is wrong in a document, or undefined. */
export async function faultsOf (document) {
  return (await new Validator().validate(structuredClone(document))).errors
}
