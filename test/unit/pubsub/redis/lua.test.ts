import t from 'tap'
import { readdirSync, readFileSync } from 'node:fs'

const FOLDER = new URL('../../../../lib/pubsub/redis/lua/', import.meta.url)
const namesIn = (folder: string): string[] =>
  readdirSync(new URL(folder, FOLDER)).filter((name) => name.endsWith('.lua')).map((name) => folder + name)
const read = (name: string): string => readFileSync(new URL(name, FOLDER), 'utf8')
const codeOf = (source: string): string => source.replace(/--.*$/gm, '')

/** Returns the code of a file and of the files that it includes. */
function codeWithIncludes (name: string): string {
  const source = read(name)
  const names = [...source.matchAll(/^-- @include (\S+)$/gm)].map(([, other = '']) => `${other}.lua`)
  const included = names.map(codeWithIncludes)
  return [...included, codeOf(source)].join('\n')
}

/** Returns the numbers of the KEYS or ARGV that a header lists. */
function listed (source: string, kind: string): number[] {
  return [...source.matchAll(new RegExp(`^-- ${kind}\\[(\\d+)\\]`, 'gm'))].map(([, number]) => Number(number))
}

/** Returns the highest number with which the code reads KEYS or ARGV. */
function highest (code: string, kind: string): number {
  const reads = [...code.matchAll(new RegExp(`\\b${kind}\\[(\\d+)\\]`, 'g'))]
  return Math.max(0, ...reads.map(([, number]) => Number(number)))
}

/** Returns whether the code has a `return` outside of functions. */
function returnsAtTop (code: string): boolean {
  const blocks: string[] = []
  const withoutStrings = code.replace(/'[^'\n]*'|"[^"\n]*"/g, '')
  for (const [word] of withoutStrings.matchAll(/\b(?:function|if|do|repeat|end|until|return)\b/g)) {
    if (word === 'end' || word === 'until') blocks.pop()
    else if (word !== 'return') blocks.push(word)
    else if (!blocks.includes('function')) return true
  }
  return false
}

for (const name of namesIn('')) {
  t.test(`the header of ${name} says which KEYS and ARGV it takes, and what it returns`, async (t) => {
    const [source, code] = [read(name), codeWithIncludes(name)]
    for (const kind of ['KEYS', 'ARGV']) {
      const numbers = listed(source, kind)
      t.same(numbers, numbers.map((_, index) => index + 1), `${kind} are numbered from 1`)
      const elsewhere = new RegExp(`^-- ${kind} +those of (\\S+)\\.`, 'm').exec(source)?.[1]
      const all = elsewhere === undefined ? numbers : listed(read(`${elsewhere}.lua`), kind)
      t.equal(all.length === 0, new RegExp(`^-- ${kind} +none$`, 'm').test(source), `the header lists ${kind}, or none`)
      t.ok(highest(code, kind) <= all.length, `${kind} that are read are listed`)
    }
    t.match(source, /^-- Returns \S/m)
  })
}

for (const name of namesIn('includes/')) {
  t.test(`${name} does not end the script that includes it`, async (t) => {
    t.notOk(returnsAtTop(codeOf(read(name))))
  })
}

t.test('a return outside of functions is found', async (t) => {
  t.ok(returnsAtTop("local done = redis.call('GET', KEYS[1])\nif done then return done end"))
  t.notOk(returnsAtTop('local function f () for n = 1, 2 do if n then return n end end end'))
})
