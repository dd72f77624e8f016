// @ts-check
import { pages, searchDocs, sourceFiles, withoutLinks } from './doc-search.js'
import { ModelChunks } from './model-chunks.js'

/**
 * @typedef {import('./model-chunks.js').Chunks} Chunks
 * @typedef {(wordMs: number, signal: AbortSignal) => Chunks} ModelAnswer Yields the chunks of a UI message, as
 * `result.toUIMessageStream()` of the AI SDK would.
 * @typedef {(model: ModelChunks) => Chunks} Script
 */

const LIMIT = 5

/** What the model answers with reasoning and a tool call. @param {string} text @returns {ModelAnswer | undefined} */
export function modelAnswerTo (text) {
  const script = scriptFor(text.trim())
  return script === undefined ? undefined : (wordMs, signal) => message(script(new ModelChunks(wordMs, signal)))
}

/** @param {string} text @returns {Script | undefined} */
function scriptFor (text) {
  if (/^(?:read|show)(?: me)? the manual[.!]*$/i.test(text)) return manual
  if (/^break (?:a|the) tool$/i.test(text)) return brokenTool
  const query = /^(?:please )?(?:search|look up)(?: the docs)?(?: for)? (.+)$/is.exec(text)?.[1]
  return query === undefined ? undefined : (model) => search(model, query)
}

/** @param {Chunks} steps @returns {Chunks} */
async function * message (steps) {
  yield { type: 'start' }
  yield * steps
  yield { type: 'finish', messageMetadata: { sentAt: new Date().toISOString() } }
}

/** @param {ModelChunks} model @param {string} query @returns {Chunks} */
async function * search (model, query) {
  const result = searchDocs(query, LIMIT)
  yield * model.step(
    model.reasoning([
      `The question is about “${query}”. I should not answer from memory: the documentation may say something else.`,
      `\`searchDocs\` looks through **all** pages. I pass the words as they are, and ask for ${LIMIT} passages.`
    ].join('\n\n')),
    model.tool({ name: 'searchDocs', input: { query, limit: LIMIT }, run: () => result })
  )
  yield * model.step(model.text(result.total === 0 ? nothingFound(query) : found(query, result)))
}

/** @param {string} query */
function nothingFound (query) {
  return [
    `Nothing in the documentation mentions “${query}”.`,
    'Some words that it does mention: `heartbeat`, `cursor`, `lease`, `Sentinel`.'
  ].join('\n\n')
}

/** @param {string} query @param {import('./doc-search.js').SearchResult} result */
function found (query, { matches, total }) {
  const rows = new Set(matches.map(({ page, section }) => `| ${section} | \`${page}\` |`))
  const [{ text = '', page = '' } = {}] = matches
  const passages = total === 1 ? 'one passage' : `${total} passages`
  return [
    `The documentation has **${passages}** about “${query}”. The first one, in \`${page}\`:`,
    text.replaceAll(/^/gm, '> '),
    total === 1 ? '' : total > matches.length ? `Where the first ${matches.length} are:` : 'Where they are:',
    total === 1 ? '' : ['| Section | Page |', '|---|---|', ...rows].join('\n')
  ].filter((block) => block !== '').join('\n\n')
}

/** A long answer: the documentation and the source of this chat. @param {ModelChunks} model @returns {Chunks} */
async function * manual (model) {
  const documents = pages()
  const files = sourceFiles()
  yield * model.step(
    model.reasoning('All of it is long. But readers can stop it, and a reader who scrolls up stays there.'),
    model.tool({
      name: 'listPages',
      input: { folder: 'docs' },
      run: () => documents.map(({ page, text: { length } }) => ({ page, length }))
    })
  )
  const text = [
    ...documents.map(({ text }) => withoutLinks(text)),
    '# The source of this chat',
    ...files.map(({ file, text }) => `## ${file}\n\n\`\`\`\`\n${text}\n\`\`\`\``)
  ].join('\n\n')
  yield * model.step(model.text(text, { fast: true }))
}

/** @param {ModelChunks} model @returns {Chunks} */
async function * brokenTool (model) {
  yield * model.step(
    model.reasoning('I am asked to fail. First a tool fails, and a model can recover from that. Then the model fails.'),
    model.tool({
      name: 'searchDocs',
      input: { query: 'how to fail', limit: LIMIT },
      run: () => { throw new Error('The index is locked. This error was requested.') }
    })
  )
  yield * model.step(model.text('The search does not work at the moment, so I will answer from what I'))
  throw new Error('The language model is overloaded. This error was requested.')
}
