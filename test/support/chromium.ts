import type { Test } from 'tap'
import { chromium, type Browser } from 'playwright-core'
import { findProgram } from './find-program.ts'

const REASON = 'chromium is not installed: apt-get install chromium-headless-shell'

const ARGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'
]

/** First the one without windows: it takes half the time. */
const PROGRAMS = ['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome']

const executablePath = process.env.CHROMIUM_PATH ?? findProgram(...PROGRAMS)

/** For the `skip` of tests that need a browser. With `REQUIRE_CHROMIUM=1` they fail where there is none. */
export const skipWithoutChromium = executablePath === undefined && process.env.REQUIRE_CHROMIUM !== '1' ? REASON : false

/** A browser that is closed with the test. */
export async function launchChromium (t: Test): Promise<Browser> {
  if (executablePath === undefined) throw new Error(REASON)
  const browser = await chromium.launch({ executablePath, args: ARGS })
  t.teardown(() => browser.close())
  return browser
}
