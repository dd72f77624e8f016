import t from 'tap'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

const documents = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' }).trim().split('\n')

/** A document without its code. */
const prose = (path: string): string =>
  readFileSync(join(root, path), 'utf8')
    .replace(/^```[^]*?^```/gm, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]]/g, ''))

/** The names that a heading can be linked by, as hosts of repositories make them. */
const anchors = (path: string): string[] =>
  [...prose(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\- ]/gu, '')
      .replace(/ /g, '-')
  )

interface Link { from: string, to: string, anchor: string | undefined }

/** The links from documents to files of the project. */
const linksOf = (paths: string[]): Link[] => paths.flatMap((from) =>
  [...prose(from).matchAll(/\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)/g)].map(([, path = '', anchor]) =>
    ({ from, to: path === '' ? from : join(dirname(from), path), anchor })))

t.test('each link of the documents leads somewhere', async (t) => {
  const links = linksOf(documents)
  const broken = links.filter(
    ({ to, anchor }) => !existsSync(join(root, to)) || (anchor !== undefined && !anchors(to).includes(anchor))
  )
  t.same(broken, [])
  t.ok(links.length > 20, `${links.length} links`)
})

t.test('links work in the npm package, too', async (t) => {
  const packed = JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore']
    })
  )
  const files = new Set((Object.values(packed)[0] as { files: { path: string }[] }).files.map(({ path }) => path))
  t.ok(files.has('docs/reference.md'))
  const missing = linksOf(documents.filter((path) => files.has(path))).filter(({ to }) => !files.has(to))
  t.same(missing, [])
})

t.test('each guide is in the index', async (t) => {
  const index = prose('docs/README.md')
  const guides = documents.filter((path) => /^docs\/(?!README)/.test(path)).map((path) => path.slice('docs/'.length))
  t.same(guides.filter((guide) => !index.includes(`](${guide})`)), [])
})
