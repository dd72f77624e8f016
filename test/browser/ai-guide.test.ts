import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import t from 'tap'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { Document, serveSnippet } from '../support/snippets.ts'

const guide = await Document.read('docs/ai.md')

/** Bundles the page of the guide. Resolves with its HTML. */
async function bundle (): Promise<string> {
  const [hook, , page] = guide.blocks('tsx')
  const { outputFiles: [script] } = await build({
    stdin: {
      contents: `
        ${hook}
        ${page}
        import { StrictMode } from 'react'
        import { createRoot } from 'react-dom/client'
        createRoot(document.querySelector('div')).render(<StrictMode><Chat chatId='general' /></StrictMode>)
      `,
      resolveDir: fileURLToPath(new URL('.', import.meta.url)),
      loader: 'tsx'
    },
    bundle: true,
    format: 'iife',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"development"' },
    alias: { '@ai-sdk/react': 'ai-react7', ai: 'ai7' },
    write: false
  })
  return `<!doctype html><title>The guide</title><link rel="icon" href="data:,"><div></div><script>${
    script?.text.replaceAll('</script', '<\\/script')
  }</script>`
}

/** The server of the guide, with its store, a model that answers slowly, and the page. */
function serverWith (html: string): string {
  const [server = ''] = guide.snippets('On the server')
  const [store = ''] = guide.snippets('Store the messages')
  const [whole = ''] = server.split('// A stand-in for `streamText')
  const listen = 'await app.listen'
  return `
    import { MockLanguageModelV4, simulateReadableStream } from 'ai7/test'
    import { finishOf } from '${new URL('../support/weather-answer.js', import.meta.url).href}'
    ${whole.replace(listen, () => `
      const model = new MockLanguageModelV4({
        doStream: async () => ({
          stream: simulateReadableStream({
            chunkDelayInMs: 300,
            chunks: [
              { type: 'stream-start', warnings: [] },
              { type: 'text-start', id: 't' },
              ...['Good ', 'morning, ', 'how ', 'are ', 'you?'].map((delta) => {
                return { type: 'text-delta', id: 't', delta }
              }),
              { type: 'text-end', id: 't' },
              finishOf('V4', 'stop')
            ]
          })
        })
      })
      ${store.replace("'ai'", "'ai7'")}
      app.get('/', (request, reply) => reply.type('text/html').send(${JSON.stringify(html)}))
      ${listen}`)}
  `
}

t.test('from nothing to an answer that is stored, and resumed after a reload', {
  skip: skipWithoutChromium, timeout: 60_000
}, async (t) => {
  const url = await serveSnippet(t, serverWith(await bundle()))
  const browser = await launchChromium(t)
  const page = await browser.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => { complaints.push(String(error)) })
  await page.goto(url)
  await page.getByRole('button', { name: 'Say hello' }).click()
  await page.getByText('user: Hello').waitFor()
  await page.getByText('assistant: Good').waitFor()
  await page.getByRole('button', { name: 'Stop' }).waitFor()
  await page.reload()
  await page.getByText('user: Hello').waitFor()
  await page.getByText('assistant: Good morning, how are you?').waitFor()
  await page.getByRole('button', { name: 'Stop' }).waitFor({ state: 'detached' })
  await page.reload()
  await page.getByText('assistant: Good morning, how are you?').waitFor()
  t.equal(await page.getByText('user: Hello').count(), 1)
  t.equal(await page.getByText('assistant:').count(), 1, 'the answer is shown once')
  const stored = await fetch(`${url}/api/chats/general/messages`)
  t.match(await stored.json(), [{ role: 'user' }, { role: 'assistant', parts: { 1: { state: 'done' } } }])
  t.same(complaints, [])
})
