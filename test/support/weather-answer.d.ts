import type { Sdk } from '../integration/ai/sdk.ts'

export function finishOf (version: string, reason: string): object
export function weatherAnswer (
  sdk: Sdk, model: object, signal: AbortSignal | undefined
): ReadableStream<{ type: string }>
