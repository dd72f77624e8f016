import t from 'tap'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { startApp } from '../support/app.ts'
import { plainNode } from '../support/plain-node.ts'
import { Document, writeSnippet } from '../support/snippets.ts'

const guide = await Document.read('docs/react.md')
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')

// The component for React runs in test/browser/react.test.ts.
t.test('the snippets compile, and those for Vue and Svelte show who is present', { timeout: 120_000 }, async (t) => {
  const [react] = guide.blocks('tsx')
  const [vue, svelte] = guide.snippets('Vue and Svelte')
  const folder = await writeSnippet(t, react, 'react.tsx', { 'vue.ts': vue, 'svelte.ts': svelte })
  await writeFile(`${folder}/tsconfig.json`, JSON.stringify({
    extends: '../../tsconfig.build.json',
    include: ['.'],
    exclude: [],
    compilerOptions: {
      lib: ['es2023', 'dom'], types: [], jsx: 'react-jsx', rootDir: '.', outDir: '.', declaration: false
    }
  }))
  await t.resolves(promisify(execFile)(...plainNode(tsc, '-p', folder)))
  await writeFile(`${folder}/page.js`, `
    import { effectScope, watch } from 'vue'
    import { createRealtimeClient } from 'fastify-realtime/client'
    import { usePresence } from './vue.js'
    import { presenceOf } from './svelte.js'
    const client = createRealtimeClient({ url: process.env.ORIGIN + '/api' })
    const scope = effectScope()
    const users = scope.run(() => usePresence(client, 'general'))
    const inVue = new Promise((resolve) => {
      watch(users, (users) => { if (users.length > 0) resolve(users) }, { flush: 'sync' })
    })
    let remove
    const inSvelte = new Promise((resolve) => {
      remove = presenceOf(client, 'general').subscribe((users) => { if (users.length > 0) resolve(users) })
    })
    console.log('Vue', await inVue, 'Svelte', await inSvelte)
    remove()
    scope.stop()
    client.onState((state) => console.log(state))
  `)
  const { url } = await startApp(t, { presence: true, authorize: () => ({ userId: 'ann' }) })
  const page = spawn(...plainNode(`${folder}/page.js`), {
    env: { ...process.env, ORIGIN: url }, stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => page.kill('SIGKILL'))
  let shown = ''
  page.stdout.on('data', (text) => { shown += text })
  const [status] = await once(page, 'exit')
  t.equal(status, 0)
  t.equal(shown, "Vue [ 'ann' ] Svelte [ 'ann' ]\nidle\n", 'both chats are closed at the end')
})
