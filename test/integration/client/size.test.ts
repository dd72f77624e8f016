import t from 'tap'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

t.test('the whole client is smaller than 6 kB compressed', async (t) => {
  const { outputFiles: [file], metafile } = await build({
    entryPoints: [
      fileURLToPath(new URL('../../../dist/client/index.js', import.meta.url))
    ],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    metafile: true
  })
  const bytes = gzipSync(file?.contents ?? '', { level: 9 }).length
  t.ok(bytes > 1_000 && bytes < 6 * 1_024, `${bytes} bytes`)
  const inputs = Object.keys(metafile.inputs)
  const others = inputs.filter((path) => !path.startsWith('dist/client/'))
  t.same(others, ['dist/core/listener-set.js'], 'no module of the server or of Node')
})
