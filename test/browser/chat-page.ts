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
  static async open (t: Test, browser: Browser, url: string, name: string, options: BrowserContextOptions = {}): Promise<ChatPage> {
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
    await this.message(text).and(this.page.locator('.message.mine:not(.sending, .failed)')).waitFor()
  }

  async enter (room: string): Promise<void> {
    await this.page.getByRole('link', { name: room }).click()
    await this.page.getByRole('heading', { level: 1, name: room }).waitFor()
    await this.state('Live')
  }
}
