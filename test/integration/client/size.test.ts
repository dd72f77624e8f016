import t from 'tap'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

/** Bundles a module as a page would. Resolves with its bytes, compressed, and the modules that it consists of. */
async function measure (contents: string): Promise<{ bytes: number, inputs: string[] }> {
  const { outputFiles: [file], metafile } = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL('../../../dist', import.meta.url)) },
    external: ['react'],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    metafile: true
  })
  const bytes = gzipSync(file?.contents ?? '', { level: 9 }).length
  return { bytes, inputs: Object.keys(metafile.inputs).filter((path) => path !== '<stdin>') }
}

const CLIENT = 'export { createRealtimeClient } from "./client/index.js"'

t.test('the client is smaller than 6.7 kB compressed', async (t) => {
  const { bytes, inputs } = await measure(CLIENT)
  t.ok(bytes > 1_000 && bytes < 6.7 * 1_024, `${bytes} bytes`)
  const others = inputs.filter((path) => !path.startsWith('dist/client/'))
  t.same(others, ['dist/core/listener-set.js'], 'no module of the server or of Node')
})

t.test('the hooks for React are smaller than 3 kB beside it', async (t) => {
  const [client, both] = await Promise.all([CLIENT, `${CLIENT}; export * from "./react/index.js"`].map(measure))
  const bytes = (both?.bytes ?? 0) - (client?.bytes ?? 0)
  t.ok(bytes > 1_000 && bytes < 3 * 1_024, `${bytes} bytes`)
  t.same(both?.inputs.filter((path) => !/^dist\/(client|react)\//.test(path)), ['dist/core/listener-set.js'])
})
