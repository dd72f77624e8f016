import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { withoutTypes } from './without-types.js'

/** A module hook of Node: a path that names a file in full needs no search. */
export async function resolve (specifier, context, nextResolve) {
  if (!specifier.startsWith('.') || !specifier.endsWith('.ts')) return nextResolve(specifier, context)
  return { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true }
}

/**
 * A module hook of Node: removes the types of TypeScript. They are checked by `npm run typecheck`. It loads everything
 * else too, since tap's own hook, which comes next, passes every source on to another thread.
 */
export async function load (url, context, nextLoad) {
  const isTypeScript = url.startsWith('file:') && url.endsWith('.ts')
  const format = isTypeScript ? 'module' : context.format
  // Node loads these by itself.
  if (format === 'builtin' || format === 'commonjs') return { format, shortCircuit: true, source: null }
  if (format !== 'module' || !url.startsWith('file:')) return nextLoad(url, context)
  const source = readFileSync(fileURLToPath(url), 'utf8')
  return { format, shortCircuit: true, source: isTypeScript ? await withoutTypes(source) : source }
}
