import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { AnyBrowser } from './browsers.ts'
import { findProgram } from './find-program.ts'
import { watch } from './watchdog.ts'

/** As CommonJS: the loader of the tests can't resolve what its ES modules import. */
const { default: puppeteer } = createRequire(import.meta.url)('puppeteer-core') as typeof import('puppeteer-core')

const REASON = 'firefox is not installed: apt-get install firefox-esr'

const executablePath = findProgram('firefox-esr', 'firefox')

/** For the `skip` of tests that need it. With `REQUIRE_FIREFOX=1` they fail where there is none. */
export const skipWithoutFirefox = executablePath === undefined && process.env.REQUIRE_FIREFOX !== '1' ? REASON : false

/** Firefox, driven over WebDriver BiDi. It is closed with the test. */
export async function launchFirefox (t: Test): Promise<AnyBrowser> {
  if (executablePath === undefined) throw new Error(REASON)
  const userDataDir = await mkdtemp(join(tmpdir(), 'firefox-'))
  t.teardown(() => rm(userDataDir, { recursive: true, force: true, maxRetries: 5 }))
  // On a busy machine it takes its time to start.
  const patience = { timeout: 120_000, protocolTimeout: 120_000 }
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath,
    headless: true,
    userDataDir,
    ...patience
  })
  // The browser was launched here, so it has a process.
  const dismiss = watch(browser.process() as ChildProcess, userDataDir, 'KILL')
  t.teardown(async () => {
    await browser.close()
    dismiss()
  })
  return {
    async open (url) {
      const page = await browser.newPage()
      await page.goto(url)
      // `evaluate` has types only for functions.
      return { evaluate: async <T> (expression: string) => await page.evaluate(expression) as T }
    }
  }
}
