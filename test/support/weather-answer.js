// The answer of a mock model about the weather, for tests and for instances that run as processes of their own.

/** The part with which a model ends. */
export function finishOf (version, reason) {
  return version === 'V2'
    ? { type: 'finish', finishReason: reason, usage: { inputTokens: 3, outputTokens: 9, totalTokens: 12 } }
    : {
        type: 'finish',
        finishReason: { unified: reason, raw: reason },
        usage: { inputTokens: { total: 3 }, outputTokens: { total: 9 } }
      }
}

/** The UI message stream of a model that calls the tool `weather` and then answers. */
export function weatherAnswer (sdk, model, signal) {
  return sdk.streamText({
    model,
    messages: [{ role: 'user', content: 'How is the weather?' }],
    abortSignal: signal,
    stopWhen: sdk.stepCountIs(2),
    tools: {
      weather: sdk.tool({
        inputSchema: sdk.jsonSchema({ type: 'object' }), execute: async () => ({ degrees: 21, warnings: [] })
      })
    }
  }).toUIMessageStream({
    sendSources: true,
    messageMetadata: ({ part }) =>
      part.type === 'start' ? { model: 'mock' } : part.type === 'finish' ? { tokens: 9 } : undefined
  })
}
