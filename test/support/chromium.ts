import type { Test } from 'tap'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { chromium, type Browser } from 'playwright-core'

const REASON = 'chromium is not installed: apt-get install chromium'

const ARGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'
]

const executablePath = findChromium()

/** For the `skip` of tests that need a browser. With `REQUIRE_CHROMIUM=1` they fail where there is none. */
export const skipWithoutChromium = executablePath === undefined && process.env.REQUIRE_CHROMIUM !== '1' ? REASON : false

/** A browser that is closed with the test. */
export async function launchChromium (t: Test): Promise<Browser> {
  if (executablePath === undefined) throw new Error(REASON)
  const browser = await chromium.launch({ executablePath, args: ARGS })
  t.teardown(() => browser.close())
  return browser
}

function findChromium (): string | undefined {
  if (process.env.CHROMIUM_PATH !== undefined) return process.env.CHROMIUM_PATH
  const paths = (process.env.PATH ?? '').split(delimiter)
  const candidates = ['chromium', 'chromium-browser', 'google-chrome'].flatMap((name) => paths.map((path) => join(path, name)))
  return candidates.find((path) => existsSync(path))
}
