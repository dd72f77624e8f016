import t, { type Test } from 'tap'
import { Random } from '../faults/random.ts'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { faults, Site, type SiteOptions } from './use-chat-site.ts'

// Processes and browsers start slowly on a busy machine.
t.setTimeout(180_000 * Number(process.env.ROUNDS ?? 1))

/** How often each fault hits a tab. `npm run soak:use-chat` sets more. */
const ROUNDS = Number(process.env.ROUNDS ?? 1)

const LEASE = 5_000

/** Instances on which a chat is open check it so often. */
const NOTICED_WITHIN = 2_000

/** The reasoning has 10 words of 7 characters, each stage of the text 40 of 6. */
const REASONING = 70
const STAGE = 240

const cases: Pick<SiteOptions, 'transport' | 'version'>[] = [
  // Versions 5 and 6 double the text of a response that was cut: see docs/ai.md.
  { transport: 'of the SDK', version: '7' },
  { transport: 'over the connection of the chat', version: '5' },
  { transport: 'over the connection of the chat', version: '7' }
]

t.test('useChat in a browser', { skip: skipWithoutChromium }, async (t) => {
  const browser = await launchChromium(t)
  const start = async (t: Test, options: typeof cases[number], stages: number): Promise<Site> => {
    return await Site.start(t, { ...options, stages, leaseMs: LEASE, context: await browser.newContext() })
  }

  for (const options of cases) {
    const { transport, version } = options
    const name = `version ${version}, transport ${transport}`

    t.test(`${name}: despite all faults, each tab has the whole answer`, async (t) => {
      const random = new Random()
      const order = Array.from({ length: ROUNDS }, () => random.shuffled(faults)).flat()
      t.comment(`SEED=${random.seed}: ${order.join(', ')}`)
      const site = await start(t, options, order.length + 1)
      const tab = await site.open()
      await site.ask(tab)
      for (const [n, fault] of order.entries()) {
        const begin = n === 0 ? 0 : REASONING + n * STAGE
        const point = begin + Math.floor(random.next() * STAGE)
        for (const tab of site.tabs) await tab.shows(point)
        await site.suffer(fault, tab)
        if (n < order.length - 1) await site.release()
      }
      for (const tab of site.tabs) await tab.shows(REASONING + order.length * STAGE)
      // With the transport of the SDK, the end would be lost: see below.
      if (transport === 'of the SDK') await site.release()
      else await site.endMeanwhile()
      const undisturbed = await site.undisturbed()
      const shown = await Promise.all(site.tabs.map((tab) => tab.end()))
      const [end, ...more] = await site.ends()
      t.equal(shown.length, 2)
      for (const { answer, error } of shown) t.same([answer, error], [{ ...undisturbed, id: end?.id }, undefined])
      t.match(undisturbed, { metadata: { model: 'mock', tokens: 9 } })
      t.ok(undisturbed.parts.length >= 5)
      t.same([end?.status, more], ['finished', []])
    })
  }

  for (const options of cases.filter(({ version }) => version === '7')) {
    const { transport } = options

    t.test(`transport ${transport}: every reader learns that the producer was killed`, async (t) => {
      const site = await start(t, options, 2)
      await site.ask(await site.open())
      const reader = await site.open()
      await reader.shows(REASONING)
      await site.elsewhere(reader)
      const killedAt = await site.killProducer()
      const late = await site.open()
      await late.shows(REASONING)
      for (const { error, failedAt = Infinity } of await Promise.all(site.tabs.map((tab) => tab.end()))) {
        t.match(error, /interrupted/)
        t.comment(`reported after ${failedAt - killedAt} ms`)
        t.ok(failedAt - killedAt < LEASE + NOTICED_WITHIN)
      }
      t.match(await site.ends(), [{ status: 'interrupted' }])
      t.equal((await site.ends()).length, 1)
    })

    t.test(`transport ${transport}: stopped from another instance, its signal aborts within a second`, async (t) => {
      const site = await start(t, options, 2)
      await site.ask(await site.open())
      await site.open()
      for (const tab of site.tabs) await tab.shows(REASONING + 1)
      const ms = await site.stop()
      t.comment(`aborted after ${ms} ms`)
      t.ok(ms < 1_000)
      for (const tab of site.tabs) t.equal((await tab.end()).error, undefined)
      t.match(await site.ends(), [{ status: 'stopped' }])
    })
  }

  t.test('the transport of the SDK shows what had arrived if an answer ends while it is disconnected', async (t) => {
    const site = await start(t, { transport: 'of the SDK', version: '7' }, 2)
    const tab = await site.open()
    await site.ask(tab)
    await tab.shows(REASONING + 1)
    await site.endMeanwhile()
    const { answer, error } = await tab.end()
    t.equal(error, undefined)
    t.ok(JSON.stringify(answer.parts).length < JSON.stringify((await site.undisturbed()).parts).length)
  })
})
