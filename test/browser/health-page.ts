import type { Test } from 'tap'
import type { Browser, BrowserContextOptions, Locator } from 'playwright-core'
import { PageWindow } from './page-window.ts'

/** The health page in a browser window of its own, by what a user sees. */
export class HealthPage extends PageWindow {
  /** Resolves once it is live. */
  static async open (t: Test, browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<HealthPage> {
    const health = new HealthPage(await PageWindow.newPage(t, browser, options))
    await health.page.goto(`${url}/health.html`)
    await health.page.getByText('Live', { exact: true }).waitFor()
    return health
  }

  /** What is shown of one instance. */
  card (instanceId: string): Locator {
    return this.page.getByRole('article', { name: instanceId })
  }

  /** Resolves once an instance is shown in a state. */
  async state (instanceId: string, label: 'OK' | 'Degraded' | 'Down' | 'Stopped' | 'Unknown'): Promise<void> {
    await this.card(instanceId).getByText(label, { exact: true }).waitFor()
  }

  /** Resolves once a measure of an instance has a value. */
  async shows (instanceId: string, name: string, value: RegExp): Promise<void> {
    await this.card(instanceId).locator('.tile', { hasText: name }).locator('.tile-now').filter({ hasText: value }).waitFor()
  }

  /** Resolves once the summary, which screen readers read, has a text. */
  async summary (text: string): Promise<void> {
    await this.page.getByRole('status').filter({ hasText: text }).waitFor()
  }

  override async keep (name: string): Promise<void> {
    await super.keep(name, { fullPage: true })
  }
}
