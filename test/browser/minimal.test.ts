import t from 'tap'
import type { Page } from 'playwright-core'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { ExampleApp } from '../support/example-app.ts'

const options = { skip: skipWithoutChromium, timeout: 60_000 }

t.test('the smallest example shows a message in every window', options, async (t) => {
  const app = await ExampleApp.start(t, { script: 'minimal/server.js' })
  const browser = await launchChromium(t)
  const complaints: string[] = []
  const windows = await Promise.all([1, 2].map(async () => {
    const page = await browser.newPage()
    page.on('console', (message) => { complaints.push(message.text()) })
    page.on('pageerror', (error) => { complaints.push(String(error)) })
    const streamed = page.waitForResponse(/events/)
    await page.goto(`${app.url}/`)
    await streamed
    return page
  }))
  const [one, two] = windows as [Page, Page]
  await one.getByRole('textbox', { name: 'Message' }).fill('<b>Hello</b>')
  await one.getByRole('button', { name: 'Send' }).click()
  for (const page of windows) await page.getByRole('listitem').filter({ hasText: '<b>Hello</b>' }).waitFor()
  const later = await browser.newPage()
  await later.goto(`${app.url}/`)
  await later.getByText('<b>Hello</b>').waitFor()
  t.equal(await two.getByRole('listitem').count(), 1)
  // There is no icon.
  t.same(complaints.filter((text) => !text.includes('404')), [])
})
