// @ts-check
import { readdirSync, readFileSync } from 'node:fs'

/**
 * @typedef {{ page: string, section: string, text: string }} Passage A paragraph of the documentation.
 * @typedef {{ matches: Passage[], total: number }} SearchResult
 */

const docs = new URL('../docs/', import.meta.url)
const sources = ['./', './public/'].map((folder) => new URL(folder, import.meta.url))

/** The pages of the documentation. */
export function pages () {
  return readdirSync(docs).filter((name) => name.endsWith('.md')).map((page) => ({ page, text: read(page, docs) }))
}

/** The source files of this chat. */
export function sourceFiles () {
  return sources.flatMap((folder) => {
    const names = readdirSync(folder).filter((name) => /\.(js|css)$/.test(name))
    return names.map((file) => ({ file, text: read(file, folder) }))
  })
}

/** Finds the paragraphs that contain a text. @param {string} query @param {number} limit @returns {SearchResult} */
export function searchDocs (query, limit) {
  const wanted = query.toLowerCase()
  const all = pages().flatMap(passagesOf).filter(({ text }) => text.toLowerCase().includes(wanted))
  return { matches: all.slice(0, limit), total: all.length }
}

/** Headings, lists and code are left out. @param {{ page: string, text: string }} page @returns {Passage[]} */
function passagesOf ({ page, text }) {
  let section = page
  return text.replaceAll(/^```[^]*?^```/gm, '').split(/\n{2,}/).flatMap((paragraph) => {
    section = /^#+ (.*)/.exec(paragraph)?.[1] ?? section
    return /^\p{L}/u.test(paragraph) ? [{ page, section, text: withoutLinks(paragraph) }] : []
  })
}

/** The page shows only links to other sites. @param {string} markdown */
export function withoutLinks (markdown) {
  return markdown.replaceAll(/\[([^\]]+)\]\((?!https?:)[^)]*\)/g, '$1')
}

/** @param {string} name @param {URL} folder */
function read (name, folder) {
  return readFileSync(new URL(name, folder), 'utf8').trim()
}
