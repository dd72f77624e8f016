// @ts-check

/**
 * Closes the marks that the end of a growing text leaves open, so that a bold word is bold from its first letter on. An
 * open code block needs nothing: it reaches to the end.
 *
 * @param {string} text
 */
export function closeOpenMarks (text) {
  if ((text.match(/^ *```/gm)?.length ?? 0) % 2 === 1) return text
  const start = text.lastIndexOf('\n\n') + 1
  let tail = text.slice(start).trimEnd().replace(/[*`]+$/, '').replace(/\[([^\]]*)\]\([^)\s]*$/, '$1')
  if (count(tail, /`/g) % 2 === 1) tail += '`'
  const prose = tail.replace(/`[^`]*`/g, '').replace(/(?<!\S)\*(?!\S)/g, '')
  if (count(prose, /\*\*/g) % 2 === 1) tail += '**'
  if (count(prose.replaceAll('**', ''), /\*/g) % 2 === 1) tail += '*'
  return text.slice(0, start) + tail
}

/** @param {string} text @param {RegExp} pattern */
function count (text, pattern) {
  return text.match(pattern)?.length ?? 0
}
