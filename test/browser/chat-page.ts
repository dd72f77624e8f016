import type { Test } from 'tap'
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { PageWindow } from './page-window.ts'

/** The chat in a browser window of its own, by what a user sees and presses. */
export class ChatPage extends PageWindow {
  private constructor (page: Page) {
    super(page)
    page.on('dialog', (dialog) => {
      this.complaints.push(`A script opened a dialog: ${dialog.message()}`)
      dialog.dismiss()
    })
  }

  /** Opens the chat and enters a name. Resolves once it is live. */
  static async open (
    t: Test, browser: Browser, url: string, name: string, options: BrowserContextOptions = {}
  ): Promise<ChatPage> {
    const chat = new ChatPage(await PageWindow.newPage(t, browser, options))
    await chat.page.goto(url)
    await chat.page.getByRole('textbox', { name: 'Your name' }).fill(name)
    await chat.page.getByRole('button', { name: 'Start chatting' }).click()
    await chat.state('Live')
    return chat
  }

  get composer (): Locator {
    return this.page.getByRole('textbox', { name: 'Message' })
  }

  get log (): Locator {
    return this.page.getByRole('log')
  }

  /** Resolves once the connection is in a state. */
  async state (label: 'Connecting…' | 'Live' | 'Reconnecting…' | 'Offline'): Promise<void> {
    await this.page.getByRole('status').filter({ hasText: label }).waitFor()
  }

  async say (text: string): Promise<void> {
    await this.composer.fill(text)
    await this.composer.press('Enter')
  }

  /** Writes without sending, key by key. */
  async type (text: string): Promise<void> {
    await this.composer.pressSequentially(text)
  }

  /** Causes an outage from the menu. */
  async cause (outage: 'Drop the connection' | 'Lose my position' | 'Stop the instance'): Promise<void> {
    await this.page.getByRole('button', { name: 'Outages to try' }).click()
    await this.page.getByRole('button', { name: outage }).click()
  }

  /** Resolves once the page shows a notice of the connection. */
  async notice (text: string | RegExp): Promise<void> {
    await this.page.getByRole('status').filter({ hasText: text }).waitFor()
  }

  /** The instance that serves the page. */
  async instance (): Promise<string> {
    return await this.page.locator('#instance').innerText()
  }

  /** The bot message in progress. */
  get streaming (): Locator {
    return this.page.locator('.streaming')
  }

  /** Resolves with the text of the bot message in progress once it has so many characters. */
  async reads (characters: number): Promise<string> {
    const answer = this.streaming.locator('.bubble').filter({ hasText: new RegExp(`[^]{${characters},}`) })
    return await answer.textContent() ?? ''
  }

  /** Resolves once the bot message in progress has so many blocks. */
  async readsBlocks (count: number): Promise<void> {
    await this.streaming.locator(`.bubble > :nth-child(${count})`).waitFor({ state: 'attached' })
  }

  /** The message with this very text. */
  message (text: string): Locator {
    return this.page.getByRole('listitem').filter({ has: this.page.getByText(text, { exact: true }) })
  }

  /** Resolves once a message of another user is shown. */
  async hears (text: string): Promise<void> {
    await this.message(text).and(this.page.locator('.message:not(.mine)')).waitFor()
  }

  /** Resolves once a message of this user is shown as sent. */
  async hasSent (text: string): Promise<void> {
    await this.message(text).and(this.page.locator('.message.mine:not(.sending, .stored, .unsent)')).waitFor()
  }

  /**
   * Shows Markdown as it grows. Resolves with the HTML of each step; the last but one says whether a block was kept.
   */
  async grow (texts: [string, string, string, string]): Promise<string[]> {
    return await this.page.evaluate(`import('/markdown.js').then(({ MarkdownText }) => {
      const element = document.createElement('div')
      const text = new MarkdownText(element)
      const show = (step, growing) => { text.show(step, { growing }); return element.innerHTML }
      const [one, two, three, four] = ${JSON.stringify(texts)}
      const html = [show(one, true), show(two, true)]
      const block = element.children[0]
      html.push(show(three, true), block === element.children[0] ? 'same block' : 'another block', show(four, false))
      return html
    })`)
  }

  /** Shows a UI message whose last chunk may be missing. Resolves with the HTML while it grows, and after its end. */
  async showChunks (chunks: object[]): Promise<[growing: string, ended: string]> {
    return await this.page.evaluate(`Promise.all([import('/bot-message-content.js'), import('/parts-view.js')])
      .then(([{ BotMessageContent }, { PartsView }]) => {
        const content = new BotMessageContent()
        const view = new PartsView()
        const chunks = ${JSON.stringify(chunks)}
        content.add({ at: 0, chunks: chunks.slice(0, 2) })
        content.add({ at: 1, chunks: chunks.slice(1) })
        return [true, false].map((growing) => {
          view.show(content.parts, { growing })
          return view.element.innerHTML
        })
      })`)
  }

  /** From now on, counts what is done to show Markdown: how often and how much is parsed, and blocks rendered. */
  async countRendering (): Promise<void> {
    await this.page.evaluate(`import('/markdown-it.js').then(({ default: MarkdownIt }) => {
      const count = window.rendering = { parses: 0, characters: 0, blocks: 0 }
      const { parse } = MarkdownIt.prototype
      MarkdownIt.prototype.parse = function (text, env) {
        count.parses++
        count.characters += text.length
        return parse.call(this, text, env)
      }
      new MutationObserver((changes) => {
        for (const { target, addedNodes } of changes) if (target.matches('.markdown')) count.blocks += addedNodes.length
      }).observe(document.querySelector('#log'), { childList: true, subtree: true })
    })`)
  }

  /** What `countRendering` has counted. */
  async rendering (): Promise<{ parses: number, characters: number, blocks: number }> {
    return await this.page.evaluate('window.rendering')
  }

  /** The content of the last message of the bot. */
  get lastAnswer (): Locator {
    return this.page.locator('#messages .message.bot').last().locator('.parts')
  }

  /** Resolves once the last message of the bot is complete and has a text, with its HTML. */
  async finalAnswer (text: string | RegExp): Promise<string> {
    await this.lastAnswer.filter({ hasText: text }).waitFor()
    return await this.lastAnswer.innerHTML()
  }

  /** The text of a UI message as the server has it, and its HTML if it is rendered at once. */
  async answerOnServer (chatId: string): Promise<{ text: string, html: string }> {
    return await this.page.evaluate(`import('/markdown.js').then(async ({ MarkdownText }) => {
      const id = await new Promise((resolve) => {
        const source = new EventSource('/api/chats/${chatId}/events?rewind=9')
        source.addEventListener('bot_message', ({ data }) => { resolve(JSON.parse(data).id); source.close() })
      })
      const { chunks } = await (await fetch('/api/chats/${chatId}/bot-messages/' + id)).json()
      const text = chunks.map(({ type, delta }) => type === 'text-delta' ? delta : '').join('')
      const element = document.createElement('div')
      new MarkdownText(element).show(text)
      return { text, html: element.innerHTML }
    })`)
  }

  /**
   * Scrolls to the first message, at once: the animation of a key may be overtaken by the next piece. Resolves with its
   * lower edge.
   */
  async scrollUp (): Promise<number> {
    return await this.log.evaluate((log) => {
      log.scrollTop = 0
      return log.querySelector('.message')?.getBoundingClientRect().bottom ?? NaN
    })
  }

  /** The lower edge of an element, in pixels of the window. */
  async bottomOf (element: Locator): Promise<number> {
    return await element.evaluate((shown) => shown.getBoundingClientRect().bottom)
  }

  /** How many pixels of the log are below the window. */
  async belowEnd (): Promise<number> {
    return await this.log.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight)
  }

  /** Calls methods of the view of the connection. Resolves with the notice after each. */
  async notices (calls: string[]): Promise<string[]> {
    return await this.page.evaluate(`import('/connection-view.js').then(({ ConnectionView }) => {
      const view = new ConnectionView()
      const shown = document.querySelector('#notice')
      const notices = [${calls.map((call) => `(view.${call}, shown.textContent)`).join(', ')}]
      // Otherwise the next test would find the last one.
      shown.textContent = ''
      return notices
    })`)
  }

  async enter (room: string): Promise<void> {
    await this.page.getByRole('link', { name: room }).click()
    await this.page.getByRole('heading', { level: 1, name: room }).waitFor()
    await this.state('Live')
  }
}
