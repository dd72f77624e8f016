// @ts-check
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * @typedef {(wordMs: number, signal: AbortSignal) => AsyncGenerator<string>} LongAnswer Yields words, as a language
 * model would.
 */

/** What the bot knows about. */
export const topics = ['server-sent events', 'resuming', 'rooms', 'presence', 'answers']

const QUESTION = /^(?:please )?(?:tell me|explain|talk|what (?:is|are))(?: about)? (?:an? |the )?(.+?)[.?!]*$/i
const BROKEN = 'Let me look that up. It will only take a moment, the language model is'

const articles = new Map([...topics, 'story'].map((topic) => [topic, article(topic)]))

/** @param {string} text @returns {LongAnswer | undefined} `undefined` if a short answer will do */
export function longAnswerTo (text) {
  if (/^break$/i.test(text.trim())) return brokenAnswer
  const topic = QUESTION.exec(text.trim())?.[1]?.toLowerCase() ?? ''
  const answer = articles.get(/^(sse|eventsource|streams?)$/.test(topic) ? 'server-sent events' : topic)
  return answer === undefined ? undefined : (wordMs, signal) => words(answer, wordMs, signal)
}

/** A Markdown file. @param {string} topic */
function article (topic) {
  return readFileSync(new URL(`articles/${topic.replaceAll(' ', '-')}.md`, import.meta.url), 'utf8').trim()
}

/** Throws when the signal aborts. @param {string} text @param {number} wordMs @param {AbortSignal} signal */
async function * words (text, wordMs, signal) {
  for (const word of text.split(/(?<=\s)(?=\S)/)) {
    yield word
    await delay(wordMs, undefined, { signal })
  }
}

/** @param {number} wordMs @param {AbortSignal} signal */
async function * brokenAnswer (wordMs, signal) {
  yield * words(BROKEN, wordMs, signal)
  throw new Error('The language model is overloaded. This error was requested.')
}
