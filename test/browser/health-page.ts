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
    await this.card(instanceId)
      .locator('.tile', { hasText: name })
      .locator('.tile-now')
      .filter({ hasText: value })
      .waitFor()
  }

  /** Resolves once the summary, which screen readers read, has a text. */
  async summary (text: string): Promise<void> {
    await this.page.getByRole('status').filter({ hasText: text }).waitFor()
  }

  /** The line of a chart with one point. */
  async dots (): Promise<string> {
    return await this.page.evaluate(`import('/sparkline.js').then(({ Sparkline }) => {
      const chart = new Sparkline()
      chart.draw([[{ at: 1, value: 1 }]], { from: 0, to: 2, max: 1 })
      return chart.element.querySelector('.sparkline-line').getAttribute('d')
    })`)
  }

  /** The status of an instance at some times after its last report, while the instance of the page reports. */
  async statuses ({ lastReportAt, at }: { lastReportAt: number, at: number[] }): Promise<string[]> {
    return await this.page.evaluate(`Promise.all(['report-flow', 'instance-history', 'instance-status']
      .map((name) => import('/' + name + '.js')))
      .then(([{ ReportFlow }, { InstanceHistory }, { statusOf }]) => {
        const flow = new ReportFlow()
        const history = new InstanceHistory()
        const report = { healthy: true, uptime: 1, metrics: {}, connections: {} }
        flow.opened('one')
        const statuses = []
        for (let now = 0; now <= ${Math.max(...at)}; now += 500) {
          flow.received({ ...report, instanceId: 'one' }, now)
          if (now <= ${lastReportAt}) history.add({ ...report, instanceId: 'two', at: now }, now)
          if (${JSON.stringify(at)}.includes(now)) statuses.push(statusOf(history, flow.complete(now), now).status)
        }
        return statuses
      })`)
  }

  override async keep (name: string): Promise<void> {
    await super.keep(name, { fullPage: true })
  }
}
