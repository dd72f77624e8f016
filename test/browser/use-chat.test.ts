import t, { type Test } from 'tap'
import { Answer, faults, REASONING, WORD, type Fault } from '../faults/ai/answer.ts'
import { Site } from '../faults/ai/site.ts'
import { Random } from '../faults/random.ts'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { bundle, UseChatTab, type Transport } from './use-chat-tab.ts'

// Processes and browsers start slowly on a busy machine.
t.setTimeout(300_000 * Number(process.env.ROUNDS ?? 1))

/** How often each fault hits a tab. `npm run soak:use-chat` sets more. */
const ROUNDS = Number(process.env.ROUNDS ?? 1)

const LEASE = 5_000

/** Instances on which a chat is open check it so often. */
const NOTICED_WITHIN = 2_000

const WORDS = 40
const STAGE = WORDS * WORD

interface Case {
  transport: Transport
  /** The version of the AI SDK, of the page and of the instances. */
  version: '5' | '6' | '7'
  /** What happens to a tab. Each version meets all faults. */
  faults: readonly Fault[]
}

const cases: Case[] = [
  { transport: 'of the SDK', version: '7', faults },
  { transport: 'over the connection of the chat', version: '7', faults },
  { transport: 'of the SDK', version: '5', faults: ['its connection is cut', 'its instance is killed'] },
  { transport: 'of the SDK', version: '6', faults: ['its connection is cut', 'Redis is frozen'] },
  {
    transport: 'over the connection of the chat',
    version: '5',
    faults: ['Redis is frozen', 'a second reader comes', 'it is reloaded']
  },
  {
    transport: 'over the connection of the chat',
    version: '6',
    faults: ['its instance is killed', 'a second reader comes', 'it is reloaded']
  }
]

t.test('useChat in a browser', { skip: skipWithoutChromium }, async (t) => {
  const browser = await launchChromium(t)
  const start = async (
    t: Test, { transport, version }: Pick<Case, 'transport' | 'version'>, stages: number
  ): Promise<Answer<UseChatTab>> => {
    const context = await browser.newContext()
    t.teardown(() => context.close())
    const html = await bundle(version, transport)
    await context.route(({ pathname }) => pathname === '/', (route) => {
      return route.fulfill({ contentType: 'text/html', body: html })
    })
    const site = await Site.start(t, { stages, words: WORDS, leaseMs: LEASE, sdk: `ai${version}` })
    return new Answer(site, 'general', (url) => UseChatTab.open(context, transport, url))
  }

  // They wait for processes at the same time.
  t.test('despite all faults, each tab has the whole answer', { jobs: 3 }, async (t) => {
    for (const options of cases) {
      const { transport, version, faults } = options
      t.test(`version ${version}, transport ${transport}`, async (t) => {
        const random = new Random()
        const order = Array.from({ length: ROUNDS }, () => random.shuffled(faults)).flat()
        t.comment(`SEED=${random.seed}: ${order.join(', ')}`)
        const answer = await start(t, options, order.length + 1)
        const tab = await answer.open()
        await answer.ask(tab)
        for (const [n, fault] of order.entries()) {
          const begin = n === 0 ? 0 : REASONING + n * STAGE
          const point = begin + Math.floor(random.next() * STAGE)
          for (const tab of answer.readers) await tab.shows(point)
          await answer.suffer(fault, tab)
          if (n < order.length - 1) await answer.release()
        }
        for (const tab of answer.readers) await tab.shows(REASONING + order.length * STAGE)
        // With the transport of the SDK, the end would be lost: see below.
        if (transport === 'of the SDK') await answer.release()
        else await answer.endMeanwhile()
        const undisturbed = await answer.undisturbed()
        const shown = await Promise.all(answer.readers.map((tab) => tab.end()))
        const [end, ...more] = await answer.ends()
        t.equal(shown.length, faults.includes('a second reader comes') ? 2 : 1)
        for (const { answer, error } of shown) t.same([answer, error], [{ ...undisturbed, id: end?.id }, undefined])
        t.match(undisturbed, { metadata: { model: 'mock', tokens: 9 } })
        t.ok(undisturbed.parts.length >= 5)
        t.same([end?.status, more], ['finished', []])
      })
    }
  })

  for (const options of cases.filter(({ version }) => version === '7')) {
    const { transport } = options

    t.test(`transport ${transport}: every reader learns that the producer was killed`, async (t) => {
      const answer = await start(t, options, 2)
      await answer.ask(await answer.open())
      const reader = await answer.open()
      await reader.shows(REASONING)
      await answer.elsewhere(reader)
      const killedAt = await answer.killProducer()
      const late = await answer.open()
      await late.shows(REASONING)
      for (const { error, failedAt = Infinity } of await Promise.all(answer.readers.map((tab) => tab.end()))) {
        t.match(error, /interrupted/)
        t.comment(`reported after ${failedAt - killedAt} ms`)
        t.ok(failedAt - killedAt < LEASE + NOTICED_WITHIN)
      }
      t.match(await answer.ends(), [{ status: 'interrupted' }])
      t.equal((await answer.ends()).length, 1)
    })

    t.test(`transport ${transport}: stopped from another instance, its signal aborts within a second`, async (t) => {
      const answer = await start(t, options, 2)
      await answer.ask(await answer.open())
      await answer.open()
      for (const tab of answer.readers) await tab.shows(REASONING + 1)
      const ms = await answer.stop()
      t.comment(`aborted after ${ms} ms`)
      t.ok(ms < 1_000)
      for (const tab of answer.readers) t.equal((await tab.end()).error, undefined)
      t.match(await answer.ends(), [{ status: 'stopped' }])
    })
  }

  t.test('any tab can stop an answer that all get over one connection, and a tab that leaves stops none', async (t) => {
    const answer = await start(t, { transport: 'over one connection for all tabs', version: '7' }, 2)
    const [asking, open] = [await answer.open(), await answer.open()]
    const ways: Record<string, () => Promise<UseChatTab>> = {
      'after a reload': async () => {
        await asking.reload()
        return asking
      },
      'in a second tab': async () => {
        const leaving = await answer.open()
        await leaving.shows(1)
        await leaving.unmount()
        return await answer.open()
      },
      'in a tab that was open before': async () => open
    }
    let count = 0
    for (const [way, stoppingTab] of Object.entries(ways)) {
      await answer.ask(asking)
      await open.seesAsEveryone(REASONING + STAGE, 'streaming')
      const connected = answer.readers.filter(({ instance }) => instance !== undefined)
      if (count === 0) t.equal(connected.length, 1, 'one connection for both tabs')
      const tab = await stoppingTab()
      if (tab !== open) await tab.shows(REASONING + STAGE)
      await tab.stop()
      await open.seesAsEveryone(REASONING + STAGE, 'stopped')
      for (const stopped of [asking, tab]) t.equal((await stopped.end()).error, undefined)
      t.match((await answer.ends()).map(({ status }) => status), Array(++count).fill('stopped'), way)
    }
  })

  t.test('the transport of the SDK shows what had arrived if an answer ends while it is disconnected', async (t) => {
    const answer = await start(t, { transport: 'of the SDK', version: '7' }, 2)
    const tab = await answer.open()
    await answer.ask(tab)
    await tab.shows(REASONING + 1)
    await answer.endMeanwhile()
    const { answer: shown, error } = await tab.end()
    t.equal(error, undefined)
    t.ok(JSON.stringify(shown.parts).length < JSON.stringify((await answer.undisturbed()).parts).length)
  })
})
