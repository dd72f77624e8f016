/**
 * Writes the table of options in docs/reference.md, as a part of `npm run docs`. Names, defaults, units and scopes come
 * from the option tables in `lib`, the words from their docstrings, as editors show them. With `--check`, it only
 * compares. Needs a build.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { pluginOptions } from '../../dist/options.js'

const SOURCE = fileURLToPath(new URL('../../lib/options.ts', import.meta.url))
const PAGE = new URL('../reference.md', import.meta.url)
const MARKED = /(?<=<!-- Written by `npm run docs`\. -->\n\n)[^]*?(?=\n\n<!-- -->)/

const program = ts.createProgram([SOURCE], {
  module: ts.ModuleKind.NodeNext, strict: true, skipLibCheck: true, allowImportingTsExtensions: true, noEmit: true
})
const checker = program.getTypeChecker()

/** Returns the rows of the options of a table. `types` are the types that have them as properties. */
function rowsOf (table, types, path = '') {
  return Object.entries(table).flatMap(([name, option]) => {
    const property = types.map((type) => type.getProperty(name)).find((found) => found !== undefined)
    const text = ts.displayPartsToString(property.getDocumentationComment(checker))
    const tag = property.getJsDocTags(checker).find((tag) => tag.name === 'default')
    const written = ts.displayPartsToString(tag.text)
    const cells = [`\`${path}${name}\``, defaultOf(option, written), option.scope, inCell(text)]
    const type = checker.getTypeOfSymbol(property)
    const inside = rowsOf(option.fields ?? {}, type.isUnion() ? type.types : [type], `${name}.`)
    return [`| ${cells.join(' | ')} |`, ...inside]
  })
}

/** Returns the default as the docstring writes it, with its unit. A default in words stands for none. */
function defaultOf (option, written) {
  if (option.default === undefined && /^[a-z ,]+$/.test(written)) return written
  return `\`${written}\`${option.unit === undefined ? '' : ` ${option.unit}`}`
}

/** Returns a docstring as one line, with links to other pages. */
function inCell (text) {
  const line = text.replaceAll('\n', ' ').replaceAll('|', '\\|')
  return line.replace(/docs\/([\w-]+\.md(?:#[\w-]+)?)/, (_, page) => `[${page.replace(/#.*/, '')}](${page})`)
}

const module = checker.getSymbolAtLocation(program.getSourceFile(SOURCE))
const options = checker.getExportsOfModule(module).find(({ name }) => name === 'RealtimeOptions')
const rows = rowsOf(pluginOptions, [checker.getDeclaredTypeOfSymbol(options)])
const table = ['| option | default | scope | |', '|---|---|---|---|', ...rows].join('\n')

const page = readFileSync(PAGE, 'utf8')
const written = page.replace(MARKED, () => table)
if (!process.argv.includes('--check')) {
  writeFileSync(PAGE, written)
} else if (page !== written) {
  console.error('The table of options in docs/reference.md is not the one of lib. Run `npm run docs`')
  process.exitCode = 1
}
