import { injectFetch, type Injectable } from './inject-fetch.ts'
import { StreamReader } from './stream-reader.ts'

/** Options of `openStream`. */
export interface OpenStreamOptions {
  /** Headers of the request, such as `authorization` or `last-event-id`. @default none */
  headers?: Record<string, string> | undefined
  /** Milliseconds that an event may take to arrive. @default 5_000 */
  timeoutMs?: number | undefined
}

const TIMEOUT_MS = 5_000

/**
 * Opens an event stream of an app, for a test: by `app.inject`, or if the app is given as a URL, over its port. Rejects
 * if the response is not an event stream, with the status and the body.
 */
export async function openStream (
  app: Injectable | string, path: string, { headers = {}, timeoutMs = TIMEOUT_MS }: OpenStreamOptions = {}
): Promise<StreamReader> {
  const response = typeof app === 'string'
    ? await fetch(app + path, { headers })
    : await injectFetch(app)(path, { headers })
  const { status, body } = response
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true
  if (!isStream || body === null) {
    throw new Error(`Expected an event stream, got the status ${status}: ${await response.text()}`)
  }
  return new StreamReader(body, timeoutMs)
}
