export { injectFetch, type Injectable } from './inject-fetch.ts'
export { openStream, type OpenStreamOptions } from './open-stream.ts'
export type { StreamedEvent, StreamReader } from './stream-reader.ts'
