import { pick, type OptionsFrom } from '../core/options.ts'
import { providerOptions } from '../pubsub/provider-options.ts'
import { roomOptions } from '../rooms/options.ts'
import { connectionOptions } from '../sse/options.ts'
import type { featureOptions } from './features.ts'

/** The options of the plugin that `ChatEvents` needs, beside those of its features. */
export const chatOptions = {
  ...roomOptions, ...pick(connectionOptions, 'retryMs'), ...pick(providerOptions, 'history', 'maxPayloadBytes')
}

/** The options of `ChatEvents` and its features. */
export interface ChatOptions extends OptionsFrom<typeof chatOptions & typeof featureOptions> {}
