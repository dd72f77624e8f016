/** One step of a pattern: any number of bytes, one byte of a class, or one specific byte. */
type Step = { kind: 'star' } | { kind: 'class', ranges: Range[], not: boolean } | { kind: 'literal', byte: number }

type Range = [low: number, high: number]

/**
 * Compiles a glob with the semantics of Redis PSUBSCRIBE: `*`, `?`, `[a-c]`, `[^x]` and `\` escapes, over the bytes
 * of UTF-8. For every pattern, the matching time is at most proportional to the product of both lengths.
 */
export function compileGlob (pattern: string): (channel: string) => boolean {
  const steps = parse(pattern)
  return (channel) => matches(steps, bytesOf(channel))
}

/** Redis recurses once for each star. To protect its stack, a pattern with more stars than this matches nothing. */
const MAX_STARS = 1000

/**
 * Translates a glob over plain names to one over encoded names for Redis. Runs of literals are encoded. Everything
 * else becomes a star, since one byte of a name may be several when encoded. The result matches at least the names that
 * `pattern` matches, so the receiver must still match exactly. `encodeLiteral` must encode each character by itself
 * and must leave no character that is special in a glob.
 */
export function broaden (pattern: string, encodeLiteral: (literal: string) => string): string {
  let broad = ''
  let stars = 0
  let literal: number[] = []
  // A run holds whole characters only: no byte of a multi-byte character is special in a glob, so none is split.
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
  // Redis does not process stars without input: only the empty pattern matches an empty channel name.
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
      // Only the last star needs to take more bytes: the steps before it stay matched.
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
 * The bytes of a text in UTF-8, signed like a C `char` on the common platforms of Redis. The sign affects ranges
 * between an ASCII character and another one.
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
      // A backslash at the end of the pattern is literal.
      const escaped = byte === CODES.escape && at + 1 < bytes.length
      if (escaped) at++
      steps.push({ kind: 'literal', byte: bytes[at] as number })
    }
  }
  return steps
}

/** Parses a class from after its `[` up to its `]`, or to the end of the pattern if there is none, as Redis does. */
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
