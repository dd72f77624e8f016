import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { transform } from 'esbuild'

const options = {
  loader: 'ts',
  target: 'node20',
  // Stack traces and coverage name lines of the TypeScript source.
  sourcemap: 'inline',
  sourcesContent: false,
  tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } }
}

/** A module hook of Node: transpiles TypeScript. Types are checked by `npm run typecheck`. */
export async function load (url, context, nextLoad) {
  if (!new URL(url).pathname.endsWith('.ts')) return nextLoad(url, context)
  const sourcefile = fileURLToPath(url)
  const { code } = await transform(await readFile(sourcefile), { ...options, sourcefile })
  return { format: 'module', shortCircuit: true, source: code }
}
