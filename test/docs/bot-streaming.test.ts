import t from 'tap'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import vm from 'node:vm'
import { EventSource } from 'eventsource'
import { Document, serveSnippet, writeSnippet } from '../support/snippets.ts'
import { plainNode } from '../support/plain-node.ts'

const guide = await Document.read('docs/bot-streaming.md')

t.test('the server and the browser', async (t) => {
  const url = await serveSnippet(t, guide.snippets('On the server')[0])
  const shown: { id: string, text: string, status: string, error?: string }[] = []
  let changed: () => void = () => {}
  const opened = new Promise<void>((resolve) => {
    class PageEventSource extends EventSource {
      constructor (path: string) {
        super(url + path)
        t.teardown(() => this.close())
        this.addEventListener('ready', () => resolve())
      }
    }
    vm.runInNewContext(guide.snippets('In the browser')[0] ?? '', {
      EventSource: PageEventSource,
      show: (id: string, text: string, status: string, error?: string) => {
        shown.push({ id, text, status, ...(error !== undefined && { error }) })
        changed()
      },
      reload: () => t.fail('reloaded')
    })
  })
  const seen = async (expected: object): Promise<void> => {
    while (!shown.some((one) => JSON.stringify(one) === JSON.stringify(expected))) {
      await new Promise<void>((resolve) => { changed = resolve })
    }
  }
  await opened
  const ask = (question: string): Promise<Response> => fetch(`${url}/api/chats/general/ask`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ question, answerId: question })
  })
  t.equal((await ask('why?')).status, 202)
  await seen({ id: 'why?', text: 'You asked: why?', status: 'finished' })
  await ask('wait')
  await seen({ id: 'wait', text: 'You asked: wait', status: 'streaming' })
  t.same(await (await fetch(`${url}/api/chats/general/answers/wait/stop`, { method: 'POST' })).json(), {
    stopped: true
  })
  await seen({ id: 'wait', text: 'You asked: wait', status: 'stopped' })
  await ask('fail')
  await seen({ id: 'fail', text: '', status: 'failed', error: 'The model does not answer. Try again.' })
  t.pass('each was seen')
})

t.test('by hand', { timeout: 120_000 }, async (t) => {
  const folder = await writeSnippet(t, guide.blocks('ts')[0], 'snippet.ts')
  await writeFile(
    `${folder}/tsconfig.json`,
    '{ "extends": "../../tsconfig.build.json", "include": ["."], "exclude": [], ' +
    '"compilerOptions": { "rootDir": ".", "outDir": ".", "declaration": false } }'
  )
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  await promisify(execFile)(...plainNode(tsc, '-p', folder))
  const { stdout } = await promisify(execFile)(...plainNode(`${folder}/snippet.js`), {
    env: { ...process.env, REDIS_URL: undefined, LOG_LEVEL: 'silent' }
  })
  t.equal(stdout, 'finished Once upon a time 4\nfinished\n')
})
