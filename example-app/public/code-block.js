// @ts-check

/** A long code block is laid out in groups of this many lines. While it grows, only the last group changes. */
const GROUP_LINES = 40

/** Puts the lines of a long code block into groups. @param {string} html a block, `<pre><code>` for code */
export function groupLines (html) {
  const [, before, code = '', after] = /^(<pre><code[^>]*>)([^]*)(<\/code><\/pre>)$/.exec(html) ?? []
  const lines = code.replace(/\n$/, '').split('\n')
  if (lines.length <= GROUP_LINES) return html
  const groups = []
  // Markup does not span lines: the code is text.
  for (let line = 0; line < lines.length; line += GROUP_LINES) {
    groups.push(`<span class="lines">${lines.slice(line, line + GROUP_LINES).join('\n')}\n</span>`)
  }
  return before + groups.join('') + after
}

/**
 * Replaces the groups of a code block that have changed.
 *
 * @param {Element} block
 * @param {Element | null} next
 * @returns {boolean} `false` if one of them is no code block with groups
 */
export function updateGroups (block, next) {
  const [shown, wanted] = [block, next].map((element) => element?.querySelector(':scope > code:has(> .lines)'))
  if (shown == null || wanted == null) return false
  const groups = [...wanted.children]
  const changed = groups.findIndex((group, index) => group.textContent !== shown.children[index]?.textContent)
  if (changed === -1) return shown.childElementCount === groups.length
  while (shown.childElementCount > changed) shown.lastElementChild?.remove()
  shown.append(...groups.slice(changed))
  return true
}
