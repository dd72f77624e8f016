import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { BrowserContext, Page, Response } from 'playwright-core'
import type { Message, Reader } from '../faults/ai/answer.ts'
import { Document } from '../support/snippets.ts'

/** How the page gets the chunks: by a response of its own, or over the connection of the client. */
export type Transport = 'of the SDK' | 'over the connection of the chat' | 'over one connection for all tabs'

/** The code of docs/ai.md for browsers, as a module with the hook of the page. */
async function guideTo (transport: Transport): Promise<string> {
  const guide = await Document.read('docs/ai.md')
  const [ofTheSdk, overTheConnection] = guide.blocks('tsx')
  if (transport === 'of the SDK') return `${ofTheSdk}`
  const options = transport === 'over one connection for all tabs' ? "{ share: 'user' }" : ''
  const [page] = guide.snippets('Over the connection of the chat')
  const [everyone] = guide.snippets('For everyone in the chat')
  return `
    import { useChat } from '@ai-sdk/react'
    ${page?.replace('createRealtimeClient()', `createRealtimeClient(${options})`)}
    ${everyone?.replace('console.log(id, status, message.parts)', 'window.everyone = { status, messages: [message] }')}
    ${overTheConnection}
  `
}

/** Bundles the page with a version of the AI SDK. Resolves with its HTML. */
export async function bundle (version: string, transport: Transport): Promise<string> {
  const contents = await guideTo(transport)
  const root = fileURLToPath(new URL('.', import.meta.url))
  const { outputFiles: [script] } = await build({
    entryPoints: [`${root}/use-chat-page.jsx`],
    bundle: true,
    format: 'iife',
    jsx: 'automatic',
    // React checks more, and StrictMode mounts twice.
    define: { 'process.env.NODE_ENV': '"development"' },
    alias: { '@ai-sdk/react': `ai-react${version}`, ai: `ai${version}` },
    plugins: [{
      name: 'the-guide',
      setup (build) {
        build.onResolve({ filter: /^the-guide$/ }, ({ path }) => ({ path, namespace: path }))
        build.onLoad({ filter: /.*/, namespace: 'the-guide' }, () => ({ contents, loader: 'tsx', resolveDir: root }))
      }
    }],
    write: false
  })
  return `<!doctype html><title>useChat</title><main></main><script>${
    script?.text.replaceAll('</script', '<\\/script')
  }</script>`
}

/** A tab with the page. */
export class UseChatTab implements Reader {
  readonly #page: Page
  readonly #isStream: (response: Response) => boolean
  #instance: string | undefined

  private constructor (page: Page, transport: Transport) {
    this.#page = page
    const path = transport === 'of the SDK' ? /^\/api\/chats(\/general\/stream)?$/ : /\/events$/
    this.#isStream = (response) => response.status() === 200 && path.test(new URL(response.url()).pathname)
    page.on('response', (response) => {
      if (this.#isStream(response)) this.#instance = response.headers()['x-instance']
    })
  }

  static async open (context: BrowserContext, transport: Transport, url: string): Promise<UseChatTab> {
    const page = await context.newPage()
    const tab = new UseChatTab(page, transport)
    await page.goto(url)
    return tab
  }

  get instance (): string | undefined {
    return this.#instance
  }

  async opensStream (): Promise<void> {
    await this.#page.waitForResponse(this.#isStream)
  }

  async ask (): Promise<void> {
    await this.#page.evaluate('void window.chat.sendMessage({ text: "How is the weather?" })')
    await this.shows(1)
  }

  async close (): Promise<void> {
    await this.#page.close()
  }

  async reload (): Promise<void> {
    await this.#page.reload()
  }

  /** Stops the answer in progress. */
  async stop (): Promise<void> {
    await this.#page.evaluate('window.chat.stop()')
  }

  /** Unmounts the component with `useChat`. */
  async unmount (): Promise<void> {
    await this.#page.evaluate('window.mounted.unmount()')
  }

  /** Resolves once the page has got so many characters of the answer as everyone in the chat does. */
  async seesAsEveryone (characters: number, status: string): Promise<void> {
    await this.#page.waitForFunction(`
      window.everyone?.status === "${status}" && (${lengthOf})(window.everyone) >= ${characters}
    `)
  }

  async shows (characters: number): Promise<void> {
    await this.#page.waitForFunction(`(${lengthOf})(window.chat) >= ${characters}`)
  }

  /** Resolves with the answer, the error of `useChat` and when it came, once the answer has ended. */
  async end (): Promise<{ answer: Message, error?: string, failedAt?: number }> {
    await this.#page.waitForFunction('window.chat.status === "ready" || window.failedAt !== undefined')
    return await this.#page.evaluate(`({
      answer: window.chat.messages.at(-1), error: window.chat.error?.message, failedAt: window.failedAt
    })`)
  }
}

/** How many characters of reasoning and text the answer has. It runs in the page. */
const lengthOf = `({ messages }) => {
  const answer = messages.at(-1)
  return answer?.role === 'assistant' ? answer.parts.reduce((sum, { text = '' }) => sum + text.length, 0) : 0
}`
