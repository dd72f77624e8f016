import t from 'tap'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { startApp } from '../support/app.ts'
import { Document, writeSnippet } from '../support/snippets.ts'
import { plainNode } from '../support/plain-node.ts'

const guide = await Document.read('docs/client.md')
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')

t.test('every snippet compiles, and the first one runs', { timeout: 120_000 }, async (t) => {
  const snippets = guide.blocks('ts')
  t.equal(snippets.length, 6)
  const { app, url } = await startApp(t)
  await app.chatEvents.emitChatMessage('general', { text: 'Hello' })
  const folder = await writeSnippet(t, snippets[0], 'snippet.ts')
  for (const [index, code] of snippets.entries()) if (index > 0) await writeFile(`${folder}/snippet-${index}.ts`, code)
  // For a browser as much as for Node.
  for (const types of ['"lib": ["es2023", "dom"], "types": [],', '']) {
    await writeFile(
      `${folder}/tsconfig.json`,
      '{ "extends": "../../tsconfig.build.json", "include": ["."], "exclude": [], ' +
      `"compilerOptions": { ${types} "rootDir": ".", "outDir": ".", "declaration": false } }`
    )
    await t.resolves(promisify(execFile)(...plainNode(tsc, '-p', folder)))
  }
  await writeFile(
    `${folder}/page.js`,
    'const { fetch } = globalThis; ' +
    'globalThis.fetch = (path, init) => fetch(process.env.ORIGIN + path, init); await import("./snippet.js")'
  )
  const page = spawn(...plainNode(`${folder}/page.js`), {
    env: { ...process.env, ORIGIN: url },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => page.kill('SIGKILL'))
  let shown = ''
  while (!shown.includes('Hello')) shown += String((await once(page.stdout, 'data'))[0])
  t.match(shown, /^The connection is connecting\nThe connection is open\n\w+-1-\d+ \{ text: 'Hello' \}\n$/)
})
