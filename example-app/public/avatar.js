// @ts-check

/**
 * Fills an avatar with the initials of a name, on a colour that is always the same for the name.
 *
 * @param {HTMLElement} element
 * @param {string} name
 */
export function paintAvatar (element, name) {
  element.textContent = initialsOf(name)
  element.style.setProperty('--hue', String(hueOf(name)))
}

/** @param {string} name */
function initialsOf (name) {
  const words = name.trim().split(/\s+/)
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]]
  // Not `word[0]`, which could be half of an emoji.
  return letters.map((word) => [...(word ?? '')][0] ?? '').join('').toUpperCase()
}

/** @param {string} name */
function hueOf (name) {
  let hash = 0
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0
  return hash % 360
}
