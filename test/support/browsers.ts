import type { Test } from 'tap'
import { launchChromium, skipWithoutChromium } from './chromium.ts'
import { launchFirefox, skipWithoutFirefox } from './firefox.ts'
import { launchWebKit, skipWithoutWebKit } from './webkit.ts'

/** A tab of a browser. */
export interface Tab {
  /** Resolves with the value of an expression, which JSON can carry. */
  evaluate<T> (expression: string): Promise<T>
}

/** A browser as the tests of all three use it. It is closed with the test. */
export interface AnyBrowser {
  /**
   * Opens a page in a tab of its own, beside the others: all share cookies and cache. Resolves once the page is loaded.
   */
  open (url: string): Promise<Tab>
}

/** The engines that people's browsers are made of. */
export const browsers: { name: string, skip: string | false, launch: (t: Test) => Promise<AnyBrowser> }[] = [
  { name: 'Chromium', skip: skipWithoutChromium, launch: launchChromiumTabs },
  { name: 'Firefox', skip: skipWithoutFirefox, launch: launchFirefox },
  { name: 'WebKit', skip: skipWithoutWebKit, launch: launchWebKit }
]

async function launchChromiumTabs (t: Test): Promise<AnyBrowser> {
  const context = await (await launchChromium(t)).newContext()
  return {
    async open (url) {
      const page = await context.newPage()
      await page.goto(url)
      return page
    }
  }
}
