// @ts-check
import { setTimeout as delay } from 'node:timers/promises'

/**
 * One answer, as a model and the AI SDK make it: `ticks` times `perTick` chunks of a text, one token each.
 * @typedef {object} AnswerShape
 * @property {string} id
 * @property {number} ticks
 * @property {number} perTick
 * @property {number} everyMs Milliseconds from one tick to the next.
 */

const TOKENS = [' the', ' answer', ' of', ' a', ' model', ' arrives', ' token', ' by', ' token', ',', ' and', ' grows']

/**
 * The chunks of an answer up to its end.
 * @param {string} id
 * @param {number} from
 * @param {number} to
 * @returns {object[]}
 */
function deltas (id, from, to) {
  const chunks = Array.from({ length: to - from }, (_, index) =>
    ({ type: 'text-delta', id: 'txt-0', delta: /** @type {string} */ (TOKENS[(from + index) % TOKENS.length]) }))
  return from > 0 ? chunks : [{ type: 'start', messageId: id }, { type: 'text-start', id: 'txt-0' }, ...chunks]
}

const END = [{ type: 'text-end', id: 'txt-0' }, { type: 'finish' }]

/** @type {Set<() => void>} */
const held = new Set()

/** Lets the answers of this process come to their ends. */
export function releaseAnswers () {
  for (const release of held) release()
  held.clear()
}

/**
 * Streams the chunks of an answer. Waits for `releaseAnswers` before its end, so that it stays in progress.
 * @param {string} id
 * @param {any} query The other values of its shape, as the query of a request has them.
 * @returns {ReadableStream<any>}
 */
export function answer (id, query) {
  const [ticks, perTick, everyMs] = [Number(query.ticks), Number(query.perTick), Number(query.everyMs)]
  const start = performance.now()
  let tick = 0
  return new ReadableStream({
    async pull (controller) {
      if (tick === ticks) {
        await new Promise((resolve) => held.add(() => resolve(undefined)))
        for (const chunk of END) controller.enqueue(chunk)
        controller.close()
        return
      }
      await delay(Math.max(0, start + tick * everyMs - performance.now()))
      for (const chunk of deltas(id, tick * perTick, ++tick * perTick)) controller.enqueue(chunk)
    }
  })
}

/**
 * The body of the response that a client gets: up to the end, and from there.
 * @param {AnswerShape} shape
 */
export function bodyOf ({ id, ticks, perTick }) {
  return {
    text: deltas(id, 0, ticks * perTick).map(frameOf).join(''),
    end: END.map(frameOf).join('') + DONE
  }
}

/** @param {object} chunk */
export function frameOf (chunk) {
  return `data: ${JSON.stringify(chunk)}\n\n`
}

export const DONE = 'data: [DONE]\n\n'
