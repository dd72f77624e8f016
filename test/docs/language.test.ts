import t from 'tap'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

const files = (...patterns: string[]): string[] =>
  execFileSync('git', ['ls-files', ...patterns], { cwd: root, encoding: 'utf8' }).trim().split('\n')

/** Words for which the glossary has plainer ones: reported or sent, everyone or no user, reconnects, unsubscribe. */
const UNCLEAR = /\b(told|whoever|nobody|somebody|anybody|(come|comes|came) back|undo)\b/i

interface Line { file: string, number: number, text: string }

const linesOf = (file: string): Line[] =>
  readFileSync(join(root, file), 'utf8').split('\n').map((text, index) => ({ file, number: index + 1, text }))

/** The lines of a document outside its code and tables. */
function proseOf (file: string): Line[] {
  let isCode = false
  return linesOf(file).filter(({ text }) => {
    if (text.startsWith('```')) isCode = !isCode
    return !isCode && !/^(\||```| {4})/.test(text)
  })
}

const documents = files('*.md')
const sources = files('lib', 'example-app/*.js', 'example-app/*.html', 'bench/*.js')

t.test('documents and sources use the words of the glossary', async (t) => {
  t.ok(documents.length > 15 && sources.length > 100)
  t.same([...documents, ...sources].flatMap(linesOf).filter(({ text }) => UNCLEAR.test(text)), [])
})

t.test('the names of tests use the words of the glossary', async (t) => {
  const names = files('test')
    .flatMap(linesOf)
    .filter(({ text }) => /\btest\(['"`]/.test(text))
  t.ok(names.length > 500)
  t.same(names.filter(({ text }) => UNCLEAR.test(text)), [])
})

t.test('prose has at most 120 characters a line', async (t) => {
  const long = documents.flatMap(proseOf).filter(({ text }) => text.length > 120 && !text.includes('https://'))
  t.same(long, [])
})
