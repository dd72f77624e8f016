import t from 'tap'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import vm from 'node:vm'
import { EventSource } from 'eventsource'
import { EventStream } from '../support/event-stream.ts'
import { PresenceReader } from '../support/presence-reader.ts'
import { Document, serveSnippet, writeSnippet } from '../support/snippets.ts'
import { plainNode } from '../support/plain-node.ts'

const guide = await Document.read('docs/presence.md')

t.test('the server and the browser', async (t) => {
  const url = await serveSnippet(t, guide.snippets('On the server')[0])
  const shown: { present: string[], typing: string[] } = { present: [], typing: [] }
  let changed: () => void = () => {}
  const until = async (part: keyof typeof shown, users: string[]): Promise<void> => {
    while (shown[part].join() !== users.join()) await new Promise<void>((resolve) => { changed = resolve })
  }
  class PageEventSource extends EventSource {
    constructor (path: string) {
      super(url + path)
      t.teardown(() => this.close())
    }
  }
  const input = Object.assign(new EventTarget(), { value: '' })
  const timers: (() => void)[] = []
  const cleared: unknown[] = []
  vm.runInNewContext(guide.snippets('In the browser')[0] ?? '', {
    EventSource: PageEventSource,
    input,
    fetch: (path: string, init: RequestInit) => fetch(url + path, init),
    setTimeout: (call: () => void) => timers.push(call),
    clearTimeout: (timer: unknown) => { if (timer !== undefined) cleared.push(timer) },
    showPresent: (present: string[]) => { shown.present = present; changed() },
    showTyping: (typing: string[]) => { shown.typing = typing; changed() }
  })
  await until('present', ['Ann'])
  const bob = await EventStream.open(t, `${url}/api/chats/general/events?user=Bob`)
  await until('present', ['Ann', 'Bob'])
  const reader = new PresenceReader()
  await reader.until(bob, ['Ann', 'Bob'])
  t.same(await (await fetch(`${url}/api/chats/general/users`)).json(), ['Ann', 'Bob'])

  const press = (value: string): void => {
    input.value = value
    input.dispatchEvent(new Event('input'))
  }
  press('h')
  await until('typing', ['Ann'])
  press('')
  await until('typing', [])
  t.same(cleared, [1])
  press('h')
  await until('typing', ['Ann'])
  timers.at(-1)?.()
  t.same(shown.typing, [], 'it ends by itself')
})

t.test('handlers', { timeout: 120_000 }, async (t) => {
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
  t.equal(stdout, 'Ann types\nAnn has stopped\n[]\n')
})
