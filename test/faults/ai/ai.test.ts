import t from 'tap'
import { Random } from '../random.ts'
import { Answer, faults, REASONING, WORD } from './answer.ts'
import { SdkReader, type ReaderSdk } from './sdk-reader.ts'
import { Site } from './site.ts'

/** How often each fault hits the readers of an answer. `LONG=1` sets more. */
const ROUNDS = process.env.LONG === undefined ? 1 : 6
const WORDS = 10
const STAGE = WORDS * WORD

t.setTimeout(120_000 * ROUNDS)

t.test('despite all faults, each version of the AI SDK builds the message that it builds without them', async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const count = faults.length * ROUNDS
  const site = await Site.start(t, { stages: count + 1, words: WORDS, leaseMs: 5_000 })
  const producer = site.instances[0]

  const ask = async (name: string): Promise<Answer<SdkReader>> => {
    const sdk = { ...await import(name) as ReaderSdk, name }
    const answer = new Answer(site, name, async (url) => new SdkReader(t, { sdk, chatId: name, url, producer }), name)
    await answer.ask(await answer.open())
    return answer
  }

  const disturb = async (name: string, answer: Answer<SdkReader>): Promise<void> => {
    const own = random.of(name)
    const order = Array.from({ length: ROUNDS }, () => own.shuffled(faults)).flat()
    t.comment(`${name}: ${order.join(', ')}`)
    const [reader] = answer.readers as [SdkReader]
    for (const [n, fault] of order.entries()) {
      const point = (n === 0 ? 0 : REASONING + n * STAGE) + Math.floor(own.next() * STAGE)
      for (const reader of answer.readers) await reader.shows(point)
      await answer.suffer(fault, reader)
      if (n < count - 1) await answer.release()
    }
    for (const reader of answer.readers) await reader.shows(REASONING + count * STAGE)
    await answer.endMeanwhile()
  }

  const judge = async (name: string, answer: Answer<SdkReader>): Promise<void> => {
    const undisturbed = await answer.undisturbed()
    const [end, ...more] = await answer.ends()
    t.same([end?.status, more], ['finished', []], `${name} has one end`)
    t.equal(answer.readers.length, 2)
    for (const reader of answer.readers) t.same(await reader.end(), { ...undisturbed, id: end?.id }, name)
    t.match(undisturbed, { metadata: { model: 'mock', tokens: 9 } })
    t.ok(undisturbed.parts.length >= 5)
  }

  const answers = await Promise.all(['ai5', 'ai6', 'ai7'].map(async (name) => [name, await ask(name)] as const))
  // The answers have one site, so each suffers from the faults of the others, too.
  const results = await Promise.allSettled(answers.map((answer) => disturb(...answer)))
  for (const result of results) if (result.status === 'rejected') throw result.reason
  for (const answer of answers) await judge(...answer)
})
