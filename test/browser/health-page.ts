import type { Test } from 'tap'
import { join } from 'node:path'
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'

/** The health page in one browser window of its own, by what people see. */
export class HealthPage {
  readonly page: Page
  /** What the console said that no page should say. */
  readonly complaints: string[] = []

  private constructor (page: Page) {
    this.page = page
    page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) this.complaints.push(message.text()) })
    page.on('pageerror', (error) => this.complaints.push(String(error)))
  }

  /** Resolves once it is live. */
  static async open (t: Test, browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<HealthPage> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
    t.teardown(() => context.close())
    const health = new HealthPage(await context.newPage())
    await health.page.goto(`${url}/health.html`)
    await health.page.getByText('Live', { exact: true }).waitFor()
    return health
  }

  /** What is shown of one instance. */
  card (instanceId: string): Locator {
    return this.page.getByRole('article', { name: instanceId })
  }

  /** Resolves once an instance is shown in a state. */
  async state (instanceId: string, label: 'OK' | 'Degraded' | 'Down' | 'Gone' | 'Out of hearing'): Promise<void> {
    await this.card(instanceId).getByText(label, { exact: true }).waitFor()
  }

  /** Resolves once a number of an instance is a certain one. */
  async shows (instanceId: string, name: string, value: RegExp): Promise<void> {
    await this.card(instanceId).locator('.tile', { hasText: name }).locator('.tile-now').filter({ hasText: value }).waitFor()
  }

  /** Resolves once it is summed up so: this is what is read out. */
  async summary (text: string): Promise<void> {
    await this.page.getByRole('status').filter({ hasText: text }).waitFor()
  }

  /** How many pixels the page is wider than the window. */
  overflow (): Promise<number> {
    return this.page.evaluate<number>('document.documentElement.scrollWidth - window.innerWidth')
  }

  /** With `SCREENSHOTS=dir` the page is kept as a picture, for people to look at. */
  async keep (name: string): Promise<void> {
    const { SCREENSHOTS } = process.env
    if (SCREENSHOTS !== undefined) await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), animations: 'disabled', fullPage: true })
  }
}
