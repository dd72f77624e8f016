import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import t from 'tap'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { startApp } from '../support/app.ts'
import { Document } from '../support/snippets.ts'

const guide = await Document.read('docs/react.md')

/** Bundles the component of the guide with a version of React, in StrictMode. Resolves with the HTML of the page. */
async function bundle (react: string, reactDom: string): Promise<string> {
  const [contents = ''] = guide.blocks('tsx')
  const resolveDir = fileURLToPath(new URL('.', import.meta.url))
  const { outputFiles: [script] } = await build({
    stdin: {
      contents: `
        import { StrictMode } from 'react'
        import { createRoot } from 'react-dom/client'
        import { App } from 'the-guide'
        createRoot(document.querySelector('main')).render(<StrictMode><App /></StrictMode>)
      `,
      resolveDir,
      loader: 'jsx'
    },
    bundle: true,
    format: 'iife',
    jsx: 'automatic',
    // React checks more.
    define: { 'process.env.NODE_ENV': '"development"' },
    alias: { react, 'react-dom': reactDom },
    plugins: [{
      name: 'the-guide',
      setup (build) {
        build.onResolve({ filter: /^the-guide$/ }, ({ path }) => ({ path, namespace: path }))
        build.onLoad({ filter: /.*/, namespace: 'the-guide' }, () => ({ contents, loader: 'tsx', resolveDir }))
      }
    }],
    write: false
  })
  return `<!doctype html><title>React</title><link rel="icon" href="data:,"><main></main><script>${
    script?.text.replaceAll('</script', '<\\/script')
  }</script>`
}

t.test('the component of the guide works with React 18 and 19', {
  skip: skipWithoutChromium, timeout: 60_000
}, async (t) => {
  const pages = new Map([['18', await bundle('react', 'react-dom')], ['19', await bundle('react19', 'react-dom19')]])
  const { app, url } = await startApp(t, { presence: true, authorize: () => ({ userId: 'ann' }) }, {
    setup: (app) => {
      app.get<{ Params: { version: string } }>('/:version', (request, reply) => {
        return reply.type('text/html').send(pages.get(request.params.version))
      })
    }
  })
  await app.chatEvents.emitChatMessage('general', { text: 'Hello' })
  const browser = await launchChromium(t)
  const complaints: string[] = []
  for (const version of pages.keys()) {
    const page = await browser.newPage()
    page.on('console', (message) => { if (message.type() !== 'info') complaints.push(message.text()) })
    page.on('pageerror', (error) => { complaints.push(String(error)) })
    await page.goto(`${url}/${version}`)
    await page.getByText('open · here: ann · typing:').waitFor()
    await page.getByRole('listitem').filter({ hasText: 'Hello' }).waitFor()
    await app.chatEvents.emitTyping('general', 'bob')
    await page.getByText('typing: bob').waitFor()
    await app.chatEvents.emitTyping('general', 'bob', { typing: false })
    const botMessage = await app.chatEvents.startBotMessage('general')
    await botMessage.append(`To React ${version}`)
    await page.getByText(`To React ${version} (streaming)`).waitFor()
    await botMessage.finish()
    await page.getByText(`To React ${version} (finished)`).waitFor()
    t.equal(await page.getByRole('listitem').count(), 1, 'the message is shown once')
    await page.close()
  }
  t.same(complaints, [])
})
