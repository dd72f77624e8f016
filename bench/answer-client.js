// @ts-check
import { createHash } from 'node:crypto'
import { request } from 'node:http'
import { answerCalls } from './child.js'
import { bodyOf } from './answer.js'

// The readers of answers. Each checks that it gets the whole answer, byte by byte.

/**
 * `missing` is the number of bytes until the end of the answer.
 * @typedef {{ shape: import('./answer.js').AnswerShape, hash: import('node:crypto').Hash, missing: number }} Reader
 */

/** @type {Set<Reader>} */
const readers = new Set()
let open = 0
/** @type {string | undefined} */
let failure
let progress = () => {}

answerCalls({
  /**
   * Opens readers, and resolves when each has a response.
   * @param {string} url
   * @param {'GET' | 'POST'} method
   * @param {import('./answer.js').AnswerShape[]} shapes
   */
  async open (url, method, shapes) {
    await Promise.all(shapes.map((shape) => read(url, method, shape)))
  },

  /** Resolves when all readers have their answers up to their ends. */
  all: () => reached(() => [...readers].every(({ missing }) => missing <= 0)),

  /** Resolves when all responses have ended. */
  async ended () {
    await reached(() => open === 0)
    for (const { shape, hash } of readers) {
      const { text, end } = bodyOf(shape)
      if (hash.digest('hex') !== hashOf().update(text + end).digest('hex')) throw new Error('An answer was changed')
    }
    readers.clear()
  }
})

const hashOf = () => createHash('sha1')

/**
 * @param {string} url
 * @param {string} method
 * @param {import('./answer.js').AnswerShape} shape
 * @returns {Promise<void>}
 */
function read (url, method, shape) {
  const reader = { shape, hash: hashOf(), missing: bodyOf(shape).text.length }
  readers.add(reader)
  open++
  return new Promise((resolve) => {
    request(`${url}/${shape.id}?${new URLSearchParams(JSON.parse(JSON.stringify(shape)))}`, { method }, (response) => {
      if (response.statusCode !== 200) fail(`The answer had the status ${response.statusCode}`)
      resolve()
      response.on('data', (/** @type {Buffer} */ data) => {
        reader.hash.update(data)
        reader.missing -= data.length
        progress()
      })
      response.once('end', () => { open--; progress() })
      response.once('error', (error) => fail(error.message))
    }).once('error', (error) => fail(error.message)).end()
  })
}

/** @param {string} reason */
function fail (reason) {
  failure = reason
  progress()
}

/**
 * @param {() => boolean} isReached
 * @returns {Promise<void>}
 */
function reached (isReached) {
  return new Promise((resolve, reject) => {
    progress = () => {
      if (failure !== undefined) reject(new Error(failure))
      else if (isReached()) resolve()
    }
    progress()
  })
}
