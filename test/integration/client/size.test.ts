import t from 'tap'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { readFileSync } from 'node:fs'
import { build } from 'esbuild'

const dist = fileURLToPath(new URL('../../../dist/', import.meta.url))

const compressed = (contents: Uint8Array | undefined): number => gzipSync(contents ?? '', { level: 9 }).length

/** Bundles a module as a page would. Resolves with the modules of its files, and the bytes of each file, compressed. */
async function measure (contents: string): Promise<{ inputs: string[], first: number, later: number[] }> {
  const { outputFiles: [first, ...others], metafile } = await build({
    stdin: { contents, resolveDir: dist },
    external: ['react'],
    bundle: true,
    splitting: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    outdir: dist,
    write: false,
    metafile: true
  })
  return {
    inputs: Object.keys(metafile.inputs).filter((path) => path !== '<stdin>'),
    first: compressed(first?.contents),
    later: others.map(({ contents }) => compressed(contents))
  }
}

const CLIENT = 'export { createRealtimeClient } from "./client/index.js"'
const KB = 1_024
/** What the client shares with the server. */
const SHARED = ['dist/core/listeners.js']

t.test('the client is smaller than 5.5 kB compressed, and loads less than 1.7 kB more with `share`', async (t) => {
  const { inputs, first, later } = await measure(CLIENT)
  t.ok(first > 1_000 && first < 5.5 * KB, `${first} bytes`)
  t.equal(later.length, 1, 'it shares no module with the first file, which esbuild would put into a third one')
  t.ok(later.every((bytes) => bytes < 1.7 * KB), `${later} bytes`)
  t.same(inputs.filter((path) => !path.startsWith('dist/client/')), SHARED, 'no other module of the server or of Node')
})

t.test('the files for a plain page are as small', async (t) => {
  for (const [file, max] of [
    ['client.min.js', 5.5 * KB], ['client.shared-connections.min.js', 1.7 * KB], ['client.folds.min.js', 0.5 * KB]
  ] as const) {
    const bytes = compressed(readFileSync(dist + file))
    t.ok(bytes > 100 && bytes < max, `${file}: ${bytes} bytes`)
  }
})

t.test('the hooks for React are smaller than 3 kB beside it', async (t) => {
  const [client, both] = await Promise.all([CLIENT, `${CLIENT}; export * from "./react/index.js"`].map(measure))
  const bytes = (both?.first ?? 0) - (client?.first ?? 0)
  t.ok(bytes > 1_000 && bytes < 3 * KB, `${bytes} bytes`)
  t.same(both?.inputs.filter((path) => !/^dist\/(client|react)\//.test(path)), SHARED)
})
