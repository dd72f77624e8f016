// @ts-check
import { randomInt } from 'node:crypto'
import { calculate } from './arithmetic.js'
import { topics } from './long-answers.js'

/**
 * What the bot can do. The first skill that returns an answer wins.
 *
 * @type {((text: string, author: string) => string | undefined)[]}
 */
const skills = [help, topic, greeting, time, dice, coin, echo, count, arithmetic]

/** An answer in Markdown. @param {string} text @param {string} author */
export function shortAnswerTo (text, author) {
  for (const skill of skills) {
    const answer = skill(text.trim(), author)
    if (answer !== undefined) return answer
  }
  return `I read ${sizeOf(text)}, but I only understand simple things. Say “help” for a list.`
}

/** @param {string} text */
function help (text) {
  if (!/^(help|\?)$/i.test(text)) return undefined
  return [
    'Here is what I can do:',
    '',
    `- **tell me about …** ${topics.join(', ')}: a long answer, word by word`,
    '- **tell me a story**: the same, for the evening',
    '- **search for** something in the documentation: with reasoning and a tool call',
    '- **read the manual**: a few hundred kilobytes of Markdown',
    '- **break**, **break a tool**: answers that fail half-way',
    '- **12 \\* (3 + 4)**: simple arithmetic',
    '- **roll 2d6**: dice of any kind',
    '- **flip**: heads or tails',
    '- **count some words**: words and characters',
    '- **echo something**: repeats it, with its Markdown',
    '- **time**: the time on the server'
  ].join('\n')
}

/** @param {string} text */
function topic (text) {
  if (!/^(tell me|explain)\b/i.test(text)) return undefined
  return `I know nothing about that. Ask me about ${topics.join(', ')}, or for a story.`
}

/** @param {string} text @param {string} author */
function greeting (text, author) {
  if (!/^(hi|hello|hey|good (morning|evening))\b/i.test(text)) return undefined
  return `Hello ${author}! Say “help” to see what I can do.`
}

/** @param {string} text */
function time (text) {
  return /^time\??$/i.test(text) ? `It is ${new Date().toUTCString()}.` : undefined
}

/** @param {string} text */
function dice (text) {
  if (!/^roll\b/i.test(text)) return undefined
  const [, howMany, faces] = /^roll (\d{0,3})d(\d{1,4})$/i.exec(text) ?? (/^roll$/i.test(text) ? ['', '1', '6'] : [])
  const dice = Number(howMany === '' ? 1 : howMany)
  const sides = Number(faces)
  if (!(dice >= 1 && dice <= 20 && sides >= 2)) return 'I roll 1 to 20 dice with 2 to 9999 sides, such as “roll 3d8”.'
  const rolls = Array.from({ length: dice }, () => randomInt(1, sides + 1))
  const sum = rolls.reduce((total, roll) => total + roll)
  return dice === 1 ? `🎲 ${sum}` : `🎲 ${rolls.join(' + ')} = ${sum}`
}

/** @param {string} text */
function coin (text) {
  if (!/^flip( a coin)?$/i.test(text)) return undefined
  return randomInt(2) === 0 ? 'Heads.' : 'Tails.'
}

/** @param {string} text */
function echo (text) {
  return /^echo\s+(.+)$/is.exec(text)?.[1]
}

/** @param {string} text */
function count (text) {
  const counted = /^count\s+(.+)$/is.exec(text)?.[1]
  return counted === undefined ? undefined : `That is ${sizeOf(counted)}.`
}

/** @param {string} text */
function arithmetic (text) {
  const value = calculate(text.replace(/^(what is|=)\s*/i, '').replace(/[=?]\s*$/, ''))
  if (value === undefined) return undefined
  // Rounded, so that 0.1 + 0.2 is 0.3.
  return Number.isFinite(value) ? `= ${Number(value.toPrecision(12))}` : 'That has no result.'
}

/** @param {string} text */
function sizeOf (text) {
  const words = text.match(/[\p{L}\p{N}]+/gu)?.length ?? 0
  const characters = [...text].length
  return `${words} ${words === 1 ? 'word' : 'words'} and ${characters} ${characters === 1 ? 'character' : 'characters'}`
}
