import type { Test } from 'tap'
import { join } from 'node:path'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'

/** Animations take most of the time of a machine without a graphics card. */
const STILL = { viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' } as const

/** A page in a browser window of its own. */
export class PageWindow {
  readonly page: Page
  /** What the console said that no page should say. */
  readonly complaints: string[] = []

  protected constructor (page: Page) {
    this.page = page
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.complaints.push(message.text())
    })
    page.on('pageerror', (error) => this.complaints.push(String(error)))
  }

  /** A window for a desktop, unless the options say otherwise. It is closed with the test. */
  protected static async newPage (t: Test, browser: Browser, options: BrowserContextOptions): Promise<Page> {
    const context = await browser.newContext({ ...STILL, ...options })
    t.teardown(() => context.close())
    return await context.newPage()
  }

  /** How many pixels the page is wider than the window. */
  overflow (): Promise<number> {
    return this.page.evaluate<number>('document.documentElement.scrollWidth - window.innerWidth')
  }

  /**
   * With `SCREENSHOTS=dir` the page is kept as a picture, for people to look at; of `fullPage`, also what is below the
   * fold.
   */
  async keep (name: string, { fullPage = false } = {}): Promise<void> {
    const { SCREENSHOTS } = process.env
    if (SCREENSHOTS !== undefined) {
      await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), animations: 'disabled', fullPage })
    }
  }
}
