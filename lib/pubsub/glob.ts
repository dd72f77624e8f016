/** One step of a pattern: any number of bytes, one byte out of some, or one certain byte. */
type Step = { kind: 'star' } | { kind: 'class', ranges: Range[], not: boolean } | { kind: 'literal', byte: number }

type Range = [low: number, high: number]

/**
 * Compiles a glob to what Redis makes of it for PSUBSCRIBE: `*`, `?`, `[a-c]`, `[^x]` and `\` escapes, over the bytes of UTF-8.
 * Matching takes at most the product of both lengths in time, whatever the pattern.
 */
export function compileGlob (pattern: string): (channel: string) => boolean {
  const steps = parse(pattern)
  return (channel) => matches(steps, bytesOf(channel))
}

/** Redis nests once for each star and takes a pattern with more of them for one that matches nothing, so as to keep its stack. */
const MAX_STARS = 1000

/**
 * Translates a glob over plain names to one over encoded names that Redis can be given: literal runs are encoded and all else becomes
 * a star, since a byte of a name may be several when encoded. It matches at least what `pattern` does, so that the exact match
 * remains to be done on receipt. `encodeLiteral` must encode each character by itself and leave nothing that is special in a glob.
 */
export function broaden (pattern: string, encodeLiteral: (literal: string) => string): string {
  let broad = ''
  let stars = 0
  let literal: number[] = []
  // A run holds whole characters only: no byte of a longer one is special in a glob, so they are never parted.
  const flush = (): void => {
    broad += encodeLiteral(Buffer.from(literal).toString())
    literal = []
  }
  for (const step of parse(pattern)) {
    if (step.kind === 'literal') {
      literal.push(step.byte)
      continue
    }
    flush()
    if (broad.endsWith('*')) continue
    broad += '*'
    // The last star that Redis bears stands for all that is left.
    if (++stars === MAX_STARS) return broad
  }
  flush()
  return broad
}

function matches (steps: Step[], text: Int8Array): boolean {
  // Redis looks at no star before there is a byte: a channel without a name is matched by the empty pattern only.
  if (text.length === 0) return steps.length === 0
  let step = 0
  let at = 0
  let star = -1
  let starAt = 0
  while (at < text.length) {
    const current = steps[step]
    if (current?.kind === 'star') {
      star = step++
      starAt = at
    } else if (current !== undefined && fits(current, text[at] as number)) {
      step++
      at++
    } else if (star >= 0) {
      // Only the last star needs to take more: what the ones before it matched stays matched.
      step = star + 1
      at = ++starAt
    } else {
      return false
    }
  }
  while (steps[step]?.kind === 'star') step++
  return step === steps.length
}

function fits (step: Exclude<Step, { kind: 'star' }>, byte: number): boolean {
  if (step.kind === 'literal') return step.byte === byte
  return step.ranges.some(([low, high]) => low <= byte && byte <= high) !== step.not
}

/**
 * The bytes of a text in UTF-8, signed as a C `char` is wherever Redis commonly runs: that decides what a range between an
 * ASCII character and another one holds.
 */
function bytesOf (text: string): Int8Array {
  return new Int8Array(Buffer.from(text))
}

const CODES = { star: 0x2a, any: 0x3f, open: 0x5b, close: 0x5d, not: 0x5e, dash: 0x2d, escape: 0x5c }

function parse (pattern: string): Step[] {
  const bytes = bytesOf(pattern)
  const steps: Step[] = []
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] as number
    if (byte === CODES.star) {
      steps.push({ kind: 'star' })
    } else if (byte === CODES.any) {
      steps.push({ kind: 'class', ranges: [], not: true })
    } else if (byte === CODES.open) {
      const { end, ...members } = parseClass(bytes, at + 1)
      steps.push({ kind: 'class', ...members })
      at = end
    } else {
      // A backslash at the very end stands for itself.
      const escaped = byte === CODES.escape && at + 1 < bytes.length
      if (escaped) at++
      steps.push({ kind: 'literal', byte: bytes[at] as number })
    }
  }
  return steps
}

/** Reads a class from behind its `[` to its `]`, or to the end of the pattern if it has none, as Redis does. */
function parseClass (bytes: Int8Array, start: number): { ranges: Range[], not: boolean, end: number } {
  const not = bytes[start] === CODES.not
  const ranges: Range[] = []
  let at = not ? start + 1 : start
  for (; at < bytes.length && bytes[at] !== CODES.close; at++) {
    const byte = bytes[at] as number
    if (byte === CODES.escape && at + 1 < bytes.length) {
      at++
      ranges.push([bytes[at] as number, bytes[at] as number])
    } else if (bytes[at + 1] === CODES.dash && at + 2 < bytes.length) {
      // Whatever stands behind the dash is its end, even a `]` or a backslash.
      const other = bytes[at + 2] as number
      ranges.push([Math.min(byte, other), Math.max(byte, other)])
      at += 2
    } else {
      ranges.push([byte, byte])
    }
  }
  return { ranges, not, end: at }
}
