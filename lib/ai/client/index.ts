export {
  realtimeChatTransport, type RealtimeChatTransport, type RealtimeChatTransportOptions, type SendOptions
} from './transport.ts'
export {
  onUIMessage, type ReadUIMessageStream, type UIMessageHandler, type UIMessageInfo
} from './ui-messages.ts'
