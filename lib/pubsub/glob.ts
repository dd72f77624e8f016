/** One step of a pattern: `star` matches any number of bytes, `class` one byte of a class, `literal` one given byte. */
type Step = { kind: 'star' } | { kind: 'class', ranges: Range[], not: boolean } | { kind: 'literal', byte: number }

type Range = [low: number, high: number]

/**
 * Compiles a glob with the semantics of Redis PSUBSCRIBE: `*`, `?`, `[a-c]`, `[^x]` and `\` escapes, over the bytes
 * of UTF-8. The time to match is at most proportional to the product of both lengths, whatever the pattern.
 */
export function compileGlob (pattern: string): (channel: string) => boolean {
  const steps = parse(pattern)
  return (channel) => matches(steps, bytesOf(channel))
}

/** Redis recurses once for each star. To protect its stack, a pattern with more stars than this matches nothing. */
const MAX_STARS = 1000

/**
 * Translates a glob for channel names into one for their encoded names in Redis. Literals are encoded. Everything else
 * becomes a star, since one byte of a name may be several when encoded. So the result may match more names than
 * `pattern`, and the receiver must filter them with `compileGlob`. `encodeLiteral` must encode each character by itself
 * and must leave no character that is special in a glob.
 */
export function broaden (pattern: string, encodeLiteral: (literal: string) => string): string {
  let broad = ''
  let stars = 0
  let literal: number[] = []
  // A run of literals has whole characters only: no byte of a multi-byte character is special in a glob.
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
    // The last star that Redis allows stands for the rest of the pattern.
    if (++stars === MAX_STARS) return broad
  }
  flush()
  return broad
}

function matches (steps: Step[], text: Int8Array): boolean {
  // As in Redis, an empty channel name is matched by the empty pattern only, not by stars.
  if (text.length === 0) return steps.length === 0
  let step = 0
  let at = 0
  /** The last star, and where the text after its bytes continues. */
  let star = -1
  let afterStar = 0
  while (at < text.length) {
    const current = steps[step]
    if (current?.kind === 'star') {
      star = step++
      afterStar = at
    } else if (current !== undefined && fits(current, text[at] as number)) {
      step++
      at++
    } else if (star >= 0) {
      // Backtrack: the last star takes one byte more. Earlier stars never need to.
      step = star + 1
      at = ++afterStar
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
 * Returns the bytes of a text in UTF-8, signed like a C `char` on the common platforms of Redis. The sign matters for
 * a range between an ASCII and a non-ASCII character.
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
      // Any byte: a class that excludes nothing.
      steps.push({ kind: 'class', ranges: [], not: true })
    } else if (byte === CODES.open) {
      const { end, ...members } = parseClass(bytes, at + 1)
      steps.push({ kind: 'class', ...members })
      at = end
    } else {
      // A backslash at the end of the pattern is literal.
      const escaped = byte === CODES.escape && at + 1 < bytes.length
      if (escaped) at++
      steps.push({ kind: 'literal', byte: bytes[at] as number })
    }
  }
  return steps
}

/** Parses the class that starts after a `[`. As in Redis, a class without `]` reaches to the end of the pattern. */
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
      // The byte after the dash ends the range, even if it is a `]` or a backslash.
      const other = bytes[at + 2] as number
      ranges.push([Math.min(byte, other), Math.max(byte, other)])
      at += 2
    } else {
      ranges.push([byte, byte])
    }
  }
  return { ranges, not, end: at }
}
